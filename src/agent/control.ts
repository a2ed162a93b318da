/**
 * The running agent's socket in its run directory, for `torbie check`: HTTP over a Unix socket that only root may open.
 * GET /desired: what the agent wants in force, as lines of JSON. POST /resync: reads the kernel back and puts right what differs.
 */
import { rmSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import type { DesiredState } from "../compile/desired.js";
import { desiredLines } from "../compile/desired-text.js";
import type { SyncState } from "./gate.js";
import type { ApplyEvent } from "./status.js";

export const controlSocket = (runDir: string): string => join(runDir, "agent.sock");

/** First line of the answer to /desired. */
export interface ControlHead {
  readonly version: string;
  readonly state: SyncState;
  /** Why what the datastore says is not put in force. */
  readonly held?: string;
  /** Of when the policy in force is, ISO 8601. */
  readonly dataFrom?: string;
}

/** Answer to /resync. */
export interface ResyncReport {
  readonly totalWrites: number;
  readonly writes: Readonly<Record<string, number>>;
  readonly failures: ApplyEvent["failures"];
}

export interface Controlled {
  head(): ControlHead;
  /** Undefined: nothing has been compiled yet. */
  desired(): DesiredState | undefined;
  resync(): Promise<ResyncReport>;
}

export class ControlServer {
  readonly #server: Server;

  /** @param onError it cannot listen: `torbie check` then does without the agent */
  constructor(
    private readonly runDir: string,
    agent: Controlled,
    onError: (error: Error) => void,
  ) {
    this.#server = createServer({ requestTimeout: 10_000 }, (request, response) => {
      void answer(agent, `${request.method ?? ""} ${request.url ?? ""}`, response);
    });
    this.#server.on("error", onError);
    this.#server.unref();
    const path = controlSocket(runDir);
    // Of an agent that was killed; whoever runs holds the lock.
    rmSync(path, { force: true });
    // The socket is made while listen() runs, with the rights that the mask leaves.
    const mask = process.umask(0o177);
    try {
      this.#server.listen(path);
    } finally {
      process.umask(mask);
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
    rmSync(controlSocket(this.runDir), { force: true });
  }
}

async function answer(agent: Controlled, asked: string, response: ServerResponse): Promise<void> {
  const fail = (status: number, why: string): void => {
    response.writeHead(status, { "content-type": "text/plain" });
    response.end(`${why}\n`);
  };
  try {
    if (asked === "POST /resync") {
      const report = await agent.resync();
      response.writeHead(200, { "content-type": "application/json" });
      response.end(`${JSON.stringify(report)}\n`);
    } else if (asked === "GET /desired") {
      const desired = agent.desired();
      if (desired === undefined) return fail(503, "nothing has been compiled yet");
      response.writeHead(200, { "content-type": "application/json-lines" });
      response.write(`${JSON.stringify(agent.head())}\n`);
      for (const line of desiredLines(desired)) {
        // The agent's loop goes on between two lines, and nothing piles up for a slow reader.
        if (response.write(line)) await new Promise((resolve) => setImmediate(resolve));
        else await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
        if (response.destroyed) return;
      }
      response.end();
    } else fail(404, "there are GET /desired and POST /resync");
  } catch (error) {
    if (!response.headersSent) fail(500, error instanceof Error ? error.message : String(error));
    else response.destroy();
  }
}
