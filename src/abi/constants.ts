/** Numbers of bpf/abi.h that BTF can't carry (macros and enums without a name). test/unit/abi/constants.test.ts compares them with it. */
export const ABI_VERSION = 2;
/** policy_key.protocol: entries that hold for every protocol. Not the IANA number 255, which no rule can name here. */
export const PROTOCOL_ANY = 255;
/** policy_key.way */
export const WAY_IPV6 = 2;
export const WAY_LOG = 4;
