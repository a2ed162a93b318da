/** Every command: one row each. Nouns read, verbs change. */
import { agent, demo, version } from "./agent.js";
import { check } from "./check.js";
import { cleanup } from "./cleanup.js";
import type { Command } from "./command.js";
import { completion } from "./completion.js";
import { configDocs, configShow } from "./config.js";
import { datastoreAccept, datastoreDiff, datastoreDump, datastoreLoad } from "./datastore.js";
import { doctor } from "./doctor.js";
import { dropList } from "./drop-list.js";
import { dropWatch } from "./drop-watch.js";
import { endpointList, endpointShow } from "./endpoint.js";
import { explain } from "./explain.js";
import { guardInstall, guardRemove, guardShow } from "./guard.js";
import { counterList } from "./counter.js";
import { flowFlush, flowList, flowShow } from "./flow.js";
import { flowWatch } from "./flow-watch.js";
import { handback, takeover } from "./incumbent.js";
import { mapDump, mapList, mapShow } from "./map.js";
import { routeList } from "./route.js";
import { top } from "./top.js";
import { help } from "./help-command.js";
import { policyShow } from "./policy.js";
import { status } from "./status.js";

export const COMMANDS: readonly Command[] = [
  agent,
  status,
  top,
  check,
  doctor,
  endpointList,
  endpointShow,
  policyShow,
  explain,
  dropWatch,
  dropList,
  flowList,
  flowShow,
  flowWatch,
  flowFlush,
  routeList,
  counterList,
  mapList,
  mapShow,
  mapDump,
  guardShow,
  guardInstall,
  guardRemove,
  takeover,
  handback,
  cleanup,
  datastoreDump,
  datastoreLoad,
  datastoreDiff,
  datastoreAccept,
  configShow,
  configDocs,
  completion,
  demo,
  version,
  help,
];
