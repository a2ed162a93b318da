/**
 * One connection to one member of etcd: etcd3's service clients on a channel of our own. etcd3's pool is not used because it retries and
 * changes members by itself, leaks a channel with every token, and hides a watch's fate; here the state machine decides all of that.
 */
import { credentials, Metadata, type ChannelCredentials, type Client, type ClientDuplexStream } from "@grpc/grpc-js";
import {
  AuthClient,
  castGrpcError,
  KVClient,
  LeaseClient,
  MaintenanceClient,
  WatchClient,
  type ICallable,
  type IWatchRequest,
  type IWatchResponse,
} from "etcd3";
import { Host } from "etcd3/lib/connection-pool.js";
import type { EtcdCredentials } from "./etcd-credentials.js";

type Service = Parameters<Host["getServiceClient"]>[0];

/** Milliseconds that a call may take unless it says otherwise. */
export const CALL_TIMEOUT = 10_000;

const CHANNEL = {
  // A page or a transaction of a thousand policies is more than gRPC's 4 MB.
  "grpc.max_receive_message_length": -1,
  // Shared subchannels would keep their back-off, up to two minutes, from one session to the next.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  "grpc.enable_channelz": 0,
  "grpc.enable_http_proxy": 0,
};

/** Errors of every call are etcd3's (GRPCUnavailableError, EtcdPermissionDeniedError, …). */
export class EtcdSession implements ICallable<Host> {
  readonly kv = new KVClient(this);
  readonly maintenance = new MaintenanceClient(this);
  /** So called in etcd3 as well. */
  readonly leaseClient = new LeaseClient(this);
  readonly callOptionsFactory = undefined;
  private readonly watches = new WatchClient(this);
  private readonly host: Host;
  private readonly metadata = new Metadata();
  private readonly calls = new Set<Call>();

  private constructor(
    readonly endpoint: string,
    channel: ChannelCredentials,
    private readonly timeout: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    signal?.addEventListener("abort", this.end);
    this.host = new Host(endpoint, channel, CHANNEL);
    // A member that is cut off from the others then ends watches and refuses calls, instead of going silent.
    this.metadata.set("hasleader", "true");
  }

  /**
   * Logs in where there is a user; otherwise the first call connects.
   * @param signal closes it @throws etcd3's errors; EtcdAuthenticationFailedError for a wrong password
   */
  static async open(
    endpoint: string,
    known: EtcdCredentials,
    { timeout = CALL_TIMEOUT, signal }: { readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<EtcdSession> {
    const { tls, login } = known;
    const secure = endpoint.startsWith("https:");
    const channel = secure
      ? credentials.createSsl(tls?.ca ?? null, tls?.key ?? null, tls?.cert ?? null)
      : credentials.createInsecure();
    const session = new EtcdSession(endpoint, channel, timeout, signal);
    if (login === undefined) return session;
    try {
      const { token } = await new AuthClient(session).authenticate({ name: login.username, password: login.password });
      session.metadata.set("token", token);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** A stream of its own; it ends with 'error' or 'end', and `cancel()` ends it. */
  async watch(): Promise<ClientDuplexStream<IWatchRequest, IWatchResponse>> {
    return (await this.watches.watch()) as unknown as ClientDuplexStream<IWatchRequest, IWatchResponse>;
  }

  /** Ends every call that is under way. */
  close(): void {
    this.signal?.removeEventListener("abort", this.end);
    for (const call of this.calls) call.cancel();
    this.host.close();
  }

  private readonly end = (): void => this.close();

  exec<T>(service: Service, method: string, params: unknown, options: { deadline?: Date | number } = {}): Promise<T> {
    const client = this.host.getServiceClient(service) as unknown as Record<string, Unary<T>>;
    const deadline = options.deadline ?? Date.now() + this.timeout;
    return new Promise((resolve, reject) => {
      const call = client[method]?.(params, this.metadata, { ...options, deadline }, (error, result) => {
        if (call !== undefined) this.calls.delete(call);
        if (error === null) resolve(result);
        else reject(castGrpcError(error));
      });
      if (call !== undefined) this.calls.add(call);
    });
  }

  async withConnection<R>(
    service: Service,
    call: (with_: { resource: Host; client: Client; metadata: Metadata }) => Promise<R> | R,
  ): Promise<R> {
    return call({ resource: this.host, client: this.host.getServiceClient(service), metadata: this.metadata });
  }

  /** The session's owner hears of it from the stream itself. */
  markFailed(): void {}
}

interface Call {
  cancel(): void;
}
type Unary<T> = (
  params: unknown,
  metadata: Metadata,
  options: object,
  done: (error: Error | null, result: T) => void,
) => Call;
