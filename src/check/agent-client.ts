/** Asks the running agent over its socket (src/agent/control.ts). */
import { request } from "node:http";
import { controlSocket, type ControlHead, type ResyncReport } from "../agent/control.js";
import type { DesiredState } from "../compile/desired.js";
import { DataplaneError } from "../errors.js";
import { printable } from "../text.js";
import { readDesired } from "../compile/desired-text.js";

/** Milliseconds in which nothing may come for the connection to be given up: a pass with a thousand taps takes seconds. */
const SILENCE = 60_000;

function ask(runDir: string, method: string, path: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(new DataplaneError("AGENT_SILENT", `the agent does not answer: ${why}`, { cause }));
    const asked = request({ socketPath: controlSocket(runDir), method, path, timeout: SILENCE }, (response) => {
      const parts: string[] = [];
      response.setEncoding("utf8");
      response.on("data", (part: string) => parts.push(part));
      response.on("error", (error) => fail(error.message, error));
      response.on("end", () => {
        const text = parts.join("");
        if (response.statusCode === 200) resolve(text.split("\n"));
        else fail(printable(text.trim().slice(0, 300)));
      });
    });
    asked.on("timeout", () => asked.destroy(new Error(`nothing came for ${SILENCE / 1000} s`)));
    asked.on("error", (error) => fail(error.message, error));
    asked.end();
  });
}

/** @throws DataplaneError AGENT_SILENT, DESIRED_TEXT */
export async function askDesired(runDir: string): Promise<ControlHead & { readonly desired: DesiredState }> {
  const [head = "", ...lines] = await ask(runDir, "GET", "/desired");
  return { ...(JSON.parse(head) as ControlHead), desired: readDesired(lines) };
}

/** @throws DataplaneError AGENT_SILENT */
export async function askResync(runDir: string): Promise<ResyncReport> {
  return JSON.parse((await ask(runDir, "POST", "/resync")).join("")) as ResyncReport;
}
