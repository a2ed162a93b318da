/** Writing into a test's etcd, and small resources to write. */
import { Etcd3 } from "etcd3";
import { endpointName, keyOf } from "../../src/model/keys.js";

export interface Pair {
  readonly key: string;
  readonly value: string;
}

/** A transaction of etcd takes 128 operations by default. */
const OPERATIONS = 128;

export class Writer {
  readonly client: Etcd3;

  /** @param operations in one transaction; etcd takes no more than it was started for (--max-txn-ops) */
  constructor(
    url: string,
    private readonly operations = OPERATIONS,
  ) {
    this.client = new Etcd3({ hosts: url });
  }

  async put(...pairs: readonly Pair[]): Promise<void> {
    for (let at = 0; at < pairs.length; at += this.operations) {
      const success = pairs
        .slice(at, at + this.operations)
        .map(({ key, value }) => ({ request_put: { key: Buffer.from(key), value: Buffer.from(value) } }));
      await this.client.kv.txn({ compare: [], success, failure: [] });
    }
  }

  async delete(key: string): Promise<void> {
    await this.client.delete().key(key);
  }

  async revision(): Promise<string> {
    return (await this.client.kv.range({ key: Buffer.from("/") })).header.revision;
  }

  close(): void {
    this.client.close();
  }
}

export function cluster(spec: object = {}): Pair {
  return {
    key: keyOf("ClusterInformation", "default"),
    value: JSON.stringify({
      kind: "ClusterInformation",
      metadata: { name: "default" },
      spec: { clusterGUID: "guid-1", clusterType: "openstack", datastoreReady: true, ...spec },
    }),
  };
}

/** An endpoint like the driver's, number `n` below 65,536. */
export function endpoint(n: number, node = "host2", groups: readonly string[] = ["web"]): Pair {
  const parts = { node, orchestrator: "openstack", workload: `vm-${n}`, endpoint: `port-${n}` };
  const name = endpointName(parts);
  return {
    key: keyOf("WorkloadEndpoint", name, "openstack"),
    value: JSON.stringify({
      kind: "WorkloadEndpoint",
      metadata: {
        name,
        namespace: "openstack",
        labels: Object.fromEntries(groups.map((group) => [`sg.projectcalico.org/openstack-${group}`, group])),
      },
      spec: {
        ...parts,
        interfaceName: `tap${n}`,
        mac: "fa:16:3e:00:00:01",
        ipNetworks: [`10.65.${n >> 8}.${n & 255}/32`],
      },
    }),
  };
}

export function group(name: string, port = 22): Pair {
  const selector = `has(sg.projectcalico.org/openstack-${name})`;
  return {
    key: keyOf("NetworkPolicy", `ossg.default.${name}`, "openstack"),
    value: JSON.stringify({
      kind: "NetworkPolicy",
      metadata: { name: `ossg.default.${name}`, namespace: "openstack" },
      spec: {
        selector,
        ingress: [
          { action: "Allow", ipVersion: 4, protocol: "TCP", source: { selector }, destination: { ports: [port] } },
        ],
        egress: [{ action: "Allow", ipVersion: 4 }],
      },
    }),
  };
}
