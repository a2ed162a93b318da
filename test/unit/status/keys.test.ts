import { describe, expect, it } from "vitest";
import {
  endpointKey,
  endpointsPrefix,
  endpointValue,
  hostValue,
  lastReportedKey,
  statusKey,
} from "../../../src/status/keys.js";

const PORT = {
  orchestrator: "openstack",
  namespace: "openstack",
  workload: "7c9e6679-7425-40de-944b-e07fc1f90ae7",
  endpoint: "a429fb36-0487-4a3c-9d1f-0d2c8f3b7a10",
};

describe("keys as Felix writes them (networking-calico.md §1.6)", () => {
  it("without a region", () => {
    expect(statusKey("", "compute-01")).toBe("/calico/felix/v2/no-region/host/compute-01/status");
    expect(lastReportedKey("", "compute-01")).toBe("/calico/felix/v2/no-region/host/compute-01/last_reported_status");
    expect(endpointKey("", "compute-01", PORT)).toBe(
      "/calico/felix/v2/no-region/host/compute-01/workload/openstack/openstack%2f7c9e6679-7425-40de-944b-e07fc1f90ae7/endpoint/a429fb36-0487-4a3c-9d1f-0d2c8f3b7a10",
    );
  });

  it("in a region: the path and the namespace both name it", () => {
    const port = { ...PORT, namespace: "openstack-region-north" };
    expect(endpointKey("north", "h", port)).toBe(
      `/calico/felix/v2/region-north/host/h/workload/openstack/openstack-region-north%2f${PORT.workload}/endpoint/${PORT.endpoint}`,
    );
    expect(statusKey("north", "h")).toBe("/calico/felix/v2/region-north/host/h/status");
  });

  it("slashes and percent signs are escaped in lower case, nothing else is", () => {
    const odd = { orchestrator: "a/b", namespace: "n", workload: "50%2f", endpoint: "eth0 ü/1" };
    expect(endpointKey("", "h", odd)).toBe(`${endpointsPrefix("", "h")}a%2fb/n%2f50%252f/endpoint/eth0 ü%2f1`);
  });
});

describe("values, text for text", () => {
  it("of an endpoint", () => {
    expect(["up", "down", "error"].map((state) => endpointValue(state as "up"))).toEqual([
      '{"status":"up"}',
      '{"status":"down"}',
      '{"status":"error"}',
    ]);
  });

  it("of the host: fields in Go's order, UTC to the second, the shortest digits", () => {
    const time = new Date("2026-11-21T19:38:00.987Z");
    expect(hostValue(time, 123.4, false)).toBe('{"time":"2026-11-21T19:38:00Z","uptime":123.4,"first_update":false}');
    expect(hostValue(time, 30, true)).toBe('{"time":"2026-11-21T19:38:00Z","uptime":30,"first_update":true}');
  });
});
