import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { HttpServer, plain } from "../../../src/telemetry/http.js";

const servers: HttpServer[] = [];
function serve(address: string): HttpServer {
  const server = new HttpServer(address, {
    "/x": () => plain(200, "here"),
    "/broken": () => Promise.reject(new Error("it broke")),
  });
  servers.push(server);
  return server;
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function at(server: HttpServer, host = "127.0.0.1"): Promise<string> {
  await expect.poll(() => server.port).toBeDefined();
  return `http://${host}:${server.port ?? 0}`;
}

describe("HTTP server", () => {
  test("answers what it has, and says so where it has nothing", async () => {
    const base = await at(serve("127.0.0.1:0"));
    const ask = async (path: string, method = "GET") => {
      const response = await fetch(base + path, { method });
      return [response.status, await response.text()];
    };
    expect(await ask("/x?y=1")).toEqual([200, "here\n"]);
    expect(await ask("/x", "HEAD")).toEqual([200, ""]);
    expect(await ask("/x", "DELETE")).toEqual([405, "only GET and HEAD\n"]);
    expect(await ask("/__proto__")).toEqual([404, "not here; there are /x, /broken\n"]);
    expect(await ask("/broken")).toEqual([500, "it broke\n"]);
  });

  test("over IPv6", async () => {
    expect((await fetch(`${await at(serve("[::1]:0"), "[::1]")}/x`)).status).toBe(200);
  });

  test("an address in use is a problem, not an end", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const server = serve(address);
    await expect
      .poll(() => server.problems())
      .toEqual([
        expect.objectContaining({
          where: `address ${address}`,
          code: "CANNOT_LISTEN",
          what: expect.stringContaining("EADDRINUSE") as string,
        }),
      ]);
    await new Promise((resolve) => other.close(resolve));
  });
});
