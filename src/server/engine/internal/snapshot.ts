/**
 * stub
 */
import type { LogStart } from "../SharedLog.ts"
import type { Replica } from "./replica.ts"

/** stub */
export const restore = (_replica: Replica, _start: LogStart): void => {}
