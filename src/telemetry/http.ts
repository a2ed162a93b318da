/** Small HTTP servers for health and metrics. One that cannot listen costs its answers, nothing else, and goes on trying. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Problem } from "../problems.js";

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}
export type Routes = Readonly<Record<string, () => Answer | Promise<Answer>>>;

/** Milliseconds between attempts to listen. */
const AGAIN = 10_000;

export class HttpServer {
  readonly #server: Server;
  #timer: NodeJS.Timeout | undefined;
  #trouble: Error | undefined;
  #closed = false;

  /** @param address "127.0.0.1:9199" or "[::1]:9199" */
  constructor(
    private readonly address: string,
    routes: Routes,
  ) {
    this.#server = createServer(
      { requestTimeout: 10_000, headersTimeout: 5_000, maxHeaderSize: 8_192 },
      (request, response) => {
        void answer(routes, request, response);
      },
    );
    this.#server.maxConnections = 64;
    this.#server.on("error", (error) => {
      this.#trouble = error;
      if (!this.#closed) this.#timer = setTimeout(() => this.#listen(), AGAIN).unref();
    });
    this.#server.on("listening", () => (this.#trouble = undefined));
    this.#listen();
  }

  /** The port that it has; undefined: it does not listen (yet). */
  get port(): number | undefined {
    return (this.#server.address() as AddressInfo | null)?.port;
  }

  problems(): readonly Problem[] {
    return this.#trouble === undefined
      ? []
      : [
          {
            where: `address ${this.address}`,
            code: "CANNOT_LISTEN",
            what: this.#trouble.message,
            consequence: "health or metrics are not answered there; tried again every 10 s, enforcement goes on",
          },
        ];
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #listen(): void {
    const at = this.address.lastIndexOf(":");
    const host = this.address.slice(0, at).replace(/^\[(.*)\]$/, "$1");
    this.#server.listen({ host, port: Number(this.address.slice(at + 1)), exclusive: true });
  }
}

async function answer(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "").split("?")[0] ?? "";
  let reply: Answer;
  try {
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) reply = plain(404, `not here; there are ${Object.keys(routes).join(", ")}`);
    else if (request.method !== "GET" && request.method !== "HEAD") reply = plain(405, "only GET and HEAD");
    else reply = await route();
  } catch (error) {
    reply = plain(500, error instanceof Error ? error.message : String(error));
  }
  response.writeHead(reply.status, { "content-type": reply.type, "cache-control": "no-store" });
  response.end(request.method === "HEAD" ? undefined : reply.body);
}

export const plain = (status: number, text: string): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  body: `${text}\n`,
});
export const jsonAnswer = (status: number, value: unknown): Answer => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value)}\n`,
});
