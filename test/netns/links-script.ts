/** Child of links.test.ts: a Links in this namespace that obeys one JSON command a line and answers each with one line. */
import { createInterface } from "node:readline";
import type { DesiredEndpoint } from "../../src/compile/desired.js";
import { Links, type LinksOptions } from "../../src/links/links.js";
import type { EndpointId } from "../../src/model/types.js";

const links = new Links(JSON.parse(process.argv[2] ?? "{}") as LinksOptions);
let changes = 0;
let wake: () => void = () => undefined;
const say = (value: unknown): void =>
  console.log(
    JSON.stringify(value, (_, item: unknown) =>
      item instanceof Map
        ? Object.fromEntries(item)
        : item instanceof Set
          ? [...item]
          : item instanceof Error
            ? item.message
            : item,
    ),
  );

await links.start(() => {
  changes++;
  wake();
});
say({ ready: links.state });

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as {
    do: string;
    endpoints?: DesiredEndpoint[];
    enforced?: EndpointId[];
    elevated?: EndpointId[];
  };
  const endpoints = new Map((command.endpoints ?? []).map((endpoint) => [endpoint.id, endpoint]));
  if (command.do === "interfaces") say({ ...links.interfaces(), changes, snapshots: links.snapshots });
  else if (command.do === "problems") say(links.problems());
  else if (command.do === "routes")
    say(
      await links.applyRoutes({ endpoints }, new Set(command.enforced ?? endpoints.keys()), {
        elevated: new Set(command.elevated ?? []),
      }),
    );
  else if (command.do === "remove") say(await links.removeRoutes());
  else if (command.do === "sysctls") say({ ...(await links.ensureSysctls()), all: links.sysctlChanges() });
  else if (command.do === "told") say(Object.fromEntries(links.links().map(({ name, settings }) => [name, settings])));
  else if (command.do === "resync") say(await links.resync().then(() => "done"));
  else if (command.do === "change") {
    // Answers when something has changed since the last "change".
    if (changes === 0) await new Promise<void>((resolve) => (wake = resolve));
    changes = 0;
    say("changed");
  }
}
links.close();
