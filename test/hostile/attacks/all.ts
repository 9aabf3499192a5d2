/**
 * All attacks, in the order in which they are run.
 */
import type { Attack } from "../stranger.ts"
import * as Administrators from "./administrators.ts"
import * as Backends from "./backends.ts"
import * as Browsers from "./browsers.ts"
import * as Handshakes from "./handshakes.ts"
import * as Http from "./http.ts"
import * as Requests from "./requests.ts"
import * as Trusted from "./trusted.ts"
import * as Users from "./users.ts"
import * as Work from "./work.ts"

const isAttack = (value: unknown): value is Attack => typeof value === "object"

const single = [Http, Browsers, Backends, Handshakes, Requests, Users, Administrators, Trusted, Work].flatMap((
  module
) => Object.values<unknown>(module).filter(isAttack))

/** Strangers of many kinds at the same time; the broker is told to end while they are all connected. */
const together: Attack = {
  name: "everything at once",
  sentence: "do all of it at the same time, while the broker is told to end",
  flags: ["--browsers-broadcast"],
  run: (target) =>
    Promise.all(
      [
        ...[Http.refusedUpgrades, Http.slowRequests, Http.vanished],
        ...[Browsers.deaf, Browsers.hoarders, Browsers.messageFlood, Browsers.pingFlood, Browsers.fragments],
        ...[Backends.squatters, Backends.silentBackends, Backends.largeMessages, Backends.endlessMessages]
      ].map(({ run }) => run(target))
    )
}

export const attacks: ReadonlyArray<Attack> = [...single, together]
