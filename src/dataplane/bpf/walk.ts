/** How a packet was decided, step by step, as bpf/tap-explain.bpf.c noted it. Pure. */
import { decode, sizeOf } from "../../abi/codec.js";
import { Action, Direction, FindingNames, FlowFlag, FlowStateNames, StepKind } from "../../abi/layout.gen.js";
import { stateName } from "./decode-map.js";
import { explainReason } from "./reasons.js";

export type Finding =
  "none" | "current" | "stale" | "renewed" | "revoked" | "expired" | "other sender" | "new connection" | "busy";
type WalkDirection = "ingress" | "egress";

/** `endpoint`, `policySet`, `rule` and `number` of a class are the maps' numbers; 0: none. */
export type Step =
  | { readonly step: "tap"; readonly endpoint: number }
  /** The sender may send from this address. */
  | { readonly step: "sender"; readonly endpoint: number; readonly policySet: number }
  /** Who of this host gets what is sent there. */
  | { readonly step: "receiver"; readonly endpoint: number }
  | {
      readonly step: "flow";
      readonly finding: Finding;
      /** "established", …; "" where there is no entry. */
      readonly state: string;
      readonly host: boolean;
      readonly rule: number;
    }
  | {
      readonly step: "judge";
      readonly endpoint: number;
      readonly direction: WalkDirection;
      readonly policySet: number;
    }
  /** One of the classes of the remote address, by itself or by its longest prefix. */
  | { readonly step: "class"; readonly number: number; readonly by: "address" | "prefix" }
  | {
      readonly step: "plane";
      readonly endpoint: number;
      readonly plane: number;
      readonly action: "allow" | "deny" | "pass";
      /** 0: no rule, the plane's end. */
      readonly rule: number;
    }
  | { readonly step: "log"; readonly endpoint: number; readonly rule: number }
  /** Port security is off: no rules. */
  | { readonly step: "free"; readonly endpoint: number; readonly direction: WalkDirection }
  /** Whether the flow finds room in the table, on the account of this endpoint. */
  | {
      readonly step: "room";
      readonly endpoint: number;
      readonly room: boolean;
      readonly entries: number;
      readonly reclaimable: number;
    }
  | { readonly step: "stateless" }
  /** What bpf_fib_lookup() says: enum BPF_FIB_LKUP_RET_… of linux/bpf.h. */
  | { readonly step: "route"; readonly result: number; readonly ifindex: number }
  | { readonly step: "to tap"; readonly endpoint: number; readonly ifindex: number }
  | { readonly step: "to uplink"; readonly ifindex: number }
  /** The kernel has to do something with it; endpoint 0: on its way off this host. `nat`: its NAT has it. */
  | { readonly step: "to stack"; readonly endpoint: number; readonly nat: boolean }
  | { readonly step: "to host" }
  | { readonly step: "drop"; readonly endpoint: number; readonly reason: string; readonly sentence: string }
  | { readonly step: "from host"; readonly endpoint: number; readonly allowed: boolean }
  /** It is to a floating IP of this endpoint: judged as to the address that it stands for. */
  | { readonly step: "floating"; readonly endpoint: number };

export interface Walk {
  readonly steps: readonly Step[];
  /** More steps than there is room for: the last are missing. */
  readonly cut: boolean;
  readonly verdict: "drop" | "redirect" | "pass";
  /** The frame as it left the programs. */
  readonly frame: Buffer;
}

export const STEP_BYTES = sizeOf("step");

/** Undefined: of a kind that this version does not know. */
export function decodeStep(bytes: Buffer): Step | undefined {
  const { kind, endpoint, number } = decode("step", bytes);
  const [a = 0, b = 0, c = 0] = number;
  const direction: WalkDirection = a === Direction.EGRESS ? "egress" : "ingress";
  switch (kind) {
    case StepKind.STEP_TAP:
      return { step: "tap", endpoint };
    case StepKind.STEP_SENDER:
      return { step: "sender", endpoint, policySet: a };
    case StepKind.STEP_RECEIVER:
      return { step: "receiver", endpoint };
    case StepKind.STEP_FLOW: {
      const finding = (FindingNames[a] ?? "").slice("FINDING_".length).toLowerCase().replaceAll("_", " ") as Finding;
      const state = finding === "none" || FlowStateNames[b & 0xff] === undefined ? "" : stateName(b & 0xff);
      return { step: "flow", finding, state, host: ((b >> 8) & FlowFlag.FLOW_HOST) !== 0, rule: c };
    }
    case StepKind.STEP_JUDGE:
      return { step: "judge", endpoint, direction, policySet: b };
    case StepKind.STEP_CLASS:
      return { step: "class", number: a, by: b === 1 ? "prefix" : "address" };
    case StepKind.STEP_PLANE: {
      const action = b === Action.ACTION_ALLOW ? "allow" : b === Action.ACTION_PASS ? "pass" : "deny";
      return { step: "plane", endpoint, plane: a, action, rule: c };
    }
    case StepKind.STEP_LOG:
      return { step: "log", endpoint, rule: a };
    case StepKind.STEP_FREE:
      return { step: "free", endpoint, direction };
    case StepKind.STEP_ROOM:
      return { step: "room", endpoint, room: a === 1, entries: b, reclaimable: c };
    case StepKind.STEP_STATELESS:
      return { step: "stateless" };
    case StepKind.STEP_ROUTE:
      return { step: "route", result: a | 0, ifindex: b };
    case StepKind.STEP_TO_TAP:
      return { step: "to tap", endpoint, ifindex: a };
    case StepKind.STEP_TO_UPLINK:
      return { step: "to uplink", ifindex: a };
    case StepKind.STEP_TO_STACK:
      return { step: "to stack", endpoint, nat: a === 1 };
    case StepKind.STEP_TO_HOST:
      return { step: "to host" };
    case StepKind.STEP_DROP: {
      const { name, sentence } = explainReason(a);
      return { step: "drop", endpoint, reason: name, sentence };
    }
    case StepKind.STEP_FROM_HOST:
      return { step: "from host", endpoint, allowed: a !== 0 };
    case StepKind.STEP_FLOATING:
      return { step: "floating", endpoint };
    default:
      return undefined;
  }
}
