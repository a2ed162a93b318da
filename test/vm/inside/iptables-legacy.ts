/** The table of cases on iptables' legacy back end. */
import { chooseBackEnd } from "../../../src/bench/enforce.js";
import "../../conformance/iptables.test.js";

chooseBackEnd("legacy");
