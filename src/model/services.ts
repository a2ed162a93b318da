/** Services of this host that guests reach whatever their rules say (S7), besides DHCP and router discovery. */
import type { Address, Family } from "./types.js";

/** Where guests look for metadata: that of EC2 since 2009, and Neutron's for IPv6. */
export const METADATA_ADDRESS: Readonly<Record<Family, Address>> = {
  4: "169.254.169.254" as Address,
  6: "fe80::a9fe:a9fe" as Address,
};
/** As a service's address: whatever address of the tap; it listens on all. */
export const ANY_ADDRESS = "::";
export const METADATA_PORT = 80;
export const NAMES_PORT = 53;

/** What a guest's packet is admitted to. */
export interface Served {
  /** Families in which METADATA_ADDRESS is served. */
  readonly metadata: readonly Family[];
  /** Port 53 of the host's own addresses, UDP and TCP. */
  readonly names: boolean;
}

export const NOTHING_SERVED: Served = { metadata: [], names: false };

/** Who really answers; addresses of this host. */
export interface MetadataService {
  readonly port: number;
  readonly addresses: Readonly<Partial<Record<Family, Address>>>;
}

export function served(metadata: MetadataService, names: boolean): Served {
  return { metadata: ([4, 6] as const).filter((family) => metadata.addresses[family] !== undefined), names };
}

/** 127.0.0.0/8: only with route_localnet does the kernel take what comes for it from an interface. */
export const isLoopback4 = (address: string | undefined): boolean => address?.startsWith("127.") === true;
