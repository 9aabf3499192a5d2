/**
 * Browsers as they are answered, and those for which most is queued.
 */

import * as Effect from "effect/Effect"
import type * as Engine from "../../engine/Vhosts.ts"
import { ofView } from "../../engine/VhostViews.ts"
import { Vhosts } from "../../Vhosts.ts"
import { seconds } from "./outcomes.ts"

/** A browser, as the engine lists it. */
export type Info = ReturnType<Engine.Vhost["browsers"]["list"]> extends Iterable<infer Info> ? Info : never

/** A browser as it is answered. */
export const infoOf = ({ browser, subscriptions, uid }: Info) => {
  const { address, age, queued } = browser.connectionUnsafe?.() ?? {}
  return {
    sid: browser.sid,
    version: browser.version,
    ...uid !== undefined && { uid },
    subscriptions,
    ...address !== undefined && { address },
    ...age !== undefined && { seconds: seconds(age) },
    ...queued !== undefined && { queuedBytes: queued }
  }
}

/** How many slow browsers are answered, and how many browsers are looked at in one step. */
const most = 10
const turn = 5000

/** The browsers of all vhosts for which most is queued, that with the most first. Others have a turn meanwhile. */
export const slowest = Effect.gen(function*() {
  let found: Array<{ readonly vhost: string; readonly info: Info; readonly queued: number }> = []
  let looked = 0
  for (const view of yield* Vhosts.use(({ list }) => list)) {
    for (const info of ofView(view).browsers.list()) {
      if (++looked % turn === 0) yield* Effect.yieldNow
      const queued = info.browser.connectionUnsafe?.().queued ?? 0
      if (queued <= (found.length < most ? 0 : found.at(-1)!.queued)) continue
      found = [...found, { vhost: view.path, info, queued }]
        .sort((one, other) => other.queued - one.queued)
        .slice(0, most)
    }
  }
  return { items: found.map(({ info, vhost }) => ({ vhost, ...infoOf(info) })) }
})
