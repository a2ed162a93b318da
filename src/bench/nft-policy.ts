/**
 * The policy of cloud(), as someone who knows nftables would write it: the strongest rival that needs no BPF. A verdict map by
 * tap, another by port, one set of members or prefixes; no rule is looked at in vain. Pure; syntax: nft(8).
 */
import { cidrsOf, dotted, FIRST_MEMBER, OPEN_PORT, remotePortsOf, type CloudOptions, type Size } from "./cloud.js";

interface Guest {
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
}

/** Elements that nft is given at once: longer lists overflow the message. */
const AT_ONCE = 10_000;

export function nftPolicy(guests: readonly Guest[], size: Size, { protocol = 17 }: CloudOptions = {}): string {
  const l4 = protocol === 6 ? "tcp" : "udp";
  const remotePorts = remotePortsOf(size).map((port) => `${port} : goto far`);
  const remote =
    size.cidrs === undefined ? Array.from({ length: size.members }, (_, i) => dotted(FIRST_MEMBER + i)) : cidrsOf(size);
  const list = (elements: readonly string[]): string => elements.join(", ");
  const lines = [
    "table inet peer {",
    `  set member { type ipv4_addr; ${size.cidrs === undefined ? "" : "flags interval; "}}`,
    "  set source {",
    "    typeof iifname . ether saddr . ip saddr",
    `    elements = { ${list(guests.map(({ tap, mac, address }) => `"${tap}" . ${mac} . ${address}`))} }`,
    "  }",
    "  chain far {",
    "    ip saddr @member accept",
    "    drop",
    "  }",
    "  chain to_guest {",
    `    ${l4} dport vmap { ${list([`${OPEN_PORT} : accept`, ...remotePorts])} }`,
    "    drop",
    "  }",
    "  chain from_guest {",
    "    iifname . ether saddr . ip saddr != @source drop",
    "  }",
    "  chain forward {",
    "    type filter hook forward priority filter; policy drop;",
    `    iifname vmap { ${list(guests.map(({ tap }) => `"${tap}" : jump from_guest`))} }`,
    "    ct state vmap { established : accept, related : accept, invalid : drop }",
    `    oifname vmap { ${list(guests.map(({ tap }) => `"${tap}" : goto to_guest`))} }`,
    "  }",
    "}",
  ];
  for (let from = 0; from < remote.length; from += AT_ONCE)
    lines.push(`add element inet peer member { ${list(remote.slice(from, from + AT_ONCE))} }`);
  return `${lines.join("\n")}\n`;
}
