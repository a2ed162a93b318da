/** The settings of etcd, each and together. */
import { describe, expect, test } from "vitest";
import { checkDatastore, etcdSettings } from "../../../src/config/etcd.js";
import { loadConfig, type LoadedConfig } from "../../../src/config/load.js";
import { ConfigError } from "../../../src/errors.js";

const load = (flags: Record<string, string>, text = ""): LoadedConfig =>
  loadConfig({
    flags: new Map(Object.entries(flags)),
    environment: {},
    file: { path: "/etc/torbie/torbie.yaml", text },
  });
const HTTP = { "etcd-endpoints": "http://10.0.0.1:2379" };
const HTTPS = { "etcd-endpoints": "https://a.example:2379,https://[fd00::1]:2379/" };

test("endpoints, certificates, a user and a region", () => {
  expect(etcdSettings(load(HTTP))).toEqual({
    endpoints: ["http://10.0.0.1:2379"],
    region: "no-region",
    namespace: "openstack",
  });
  const all = {
    ...HTTPS,
    "etcd-ca": "/ca",
    "etcd-cert": "/cert",
    "etcd-key": "/key",
    "etcd-username": "u",
    "etcd-password-file": "/password",
    region: "north-1",
  };
  expect(etcdSettings(load(all))).toEqual({
    endpoints: ["https://a.example:2379", "https://[fd00::1]:2379"],
    tls: { ca: "/ca", cert: "/cert", key: "/key" },
    login: { username: "u", passwordFile: "/password" },
    region: "region-north-1",
    namespace: "openstack-region-north-1",
  });
  expect(etcdSettings(load(HTTPS)).tls).toEqual({});
});

describe("what contradicts itself is refused", () => {
  test.each<[Record<string, string>, RegExp]>([
    [{}, /etcd-endpoints: must name at least one/],
    [{ "etcd-endpoints": "http://a:1,https://b:2" }, /all http or all https/],
    [{ ...HTTP, "etcd-ca": "/ca" }, /--etcd-ca: etcd-ca: has no use with http/],
    [{ ...HTTPS, "etcd-cert": "/cert" }, /etcd-cert and etcd-key go together/],
    [{ ...HTTPS, "etcd-key": "/key" }, /etcd-cert and etcd-key go together/],
    [{ ...HTTP, "etcd-username": "u" }, /etcd-username and etcd-password-file go together/],
    [{ ...HTTP, "etcd-password-file": "/p" }, /etcd-username and etcd-password-file go together/],
  ])("%j", (flags, message) => {
    expect(() => etcdSettings(load(flags))).toThrow(ConfigError);
    expect(() => etcdSettings(load(flags))).toThrow(message);
  });

  test.each([
    ["a:2379", "http://a", "http://a:0", "http://a:70000", "ftp://a:1", "http://a:1/x", "http://u:p@a:1", "http://:1"],
  ])("endpoints such as %s", (...endpoints) => {
    for (const endpoint of endpoints)
      expect(() => load({ "etcd-endpoints": endpoint }), endpoint).toThrow(/expected http:\/\/host:port/);
  });

  test.each([
    [{ datastore: "etcd", ...HTTP, "policy-dir": "/p" }, "", /--policy-dir: the datastore is etcd \(--datastore\)/],
    [HTTP, "", /--etcd-endpoints: the datastore is yaml \(default\).*say --datastore etcd/],
    [
      { "etcd-username": "u" },
      "datastore: yaml\n",
      /--etcd-username: the datastore is yaml \(\/etc\/torbie\/torbie\.yaml:1/,
    ],
  ])("flags of two datastores: %j", (flags, text, message) => {
    expect(() => checkDatastore(load(flags, text))).toThrow(message);
  });

  test("but a file may know both, for hosts that share it", () => {
    const text = "policy-dir: /p\netcd-endpoints: [http://a:1]\n";
    expect(() => checkDatastore(load({ datastore: "etcd" }, text))).not.toThrow();
    expect(() => checkDatastore(load({ datastore: "yaml" }, text))).not.toThrow();
  });
});
