/**
 * The event queues of vhosts in Redis. A turn of a node is one script; a node that waits for events or responses is woken by a channel
 * that it hears.
 *
 * A turn that has failed may be repeated, see `internal/queue/turn.ts`: so nothing is done twice, whatever is lost on the way.
 */

import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Limits, type SharedQueue, SharedQueueError, type SharedQueues } from "../engine/SharedQueue.ts"
import { supervised } from "../engine/Supervisor.ts"
import type { Connection } from "./Connection.ts"
import * as Codec from "./internal/queue/codec.ts"
import * as QueueScript from "./internal/queue/script.ts"
import * as Keys from "./Keys.ts"
import type { Nodes } from "./Nodes.ts"
import type { Script } from "./Script.ts"

/** The queues of all vhosts. */
export interface RedisQueues extends Context.Service.Shape<typeof SharedQueues> {
  /** Calls a listener when this node was told to look at a key. Returns a function that removes it. */
  readonly onWakeUnsafe: (key: string, listener: () => void) => () => void
  /** Calls the listeners of queues for which there may be something. */
  readonly listen: Effect.Effect<never>
}

/** What the queues need. */
export interface Options {
  readonly connection: Connection
  readonly nodes: Pick<Nodes, "self" | "run">
  /** The time, in milliseconds, in place of Redis' own. */
  readonly now?: (() => number) | undefined
}

/** How many dead letters are read at once. */
const mostLetters = 100

type Listeners = Map<string, Set<() => void>>

/** Makes the queues. `listen` wakes them; run it in a fiber. */
export const make = (options: Options): RedisQueues => {
  const listeners: Listeners = new Map()
  // Vhosts with the same limits, mostly all, have one.
  const scripts = new Map<string, Script>()
  const scriptOf = (limits: Limits): Script => {
    const numbers = QueueScript.numbersOf(limits)
    const key = JSON.stringify(numbers)
    const script = scripts.get(key) ?? QueueScript.make(numbers)
    scripts.set(key, script)
    return script
  }
  const onWakeUnsafe = (key: string, listener: () => void) => {
    const own = listeners.get(key) ?? new Set()
    listeners.set(key, own.add(listener))
    return () => {
      own.delete(listener)
      if (own.size === 0) listeners.delete(key)
    }
  }
  return {
    onWakeUnsafe,
    queueOf: (vhost, limits) => {
      const base = Keys.ofVhost(vhost, "queue")
      return queueOf(options, (listener) => onWakeUnsafe(base, listener), base, scriptOf(limits))
    },
    remove: (vhost) => Effect.asVoid(run(options, QueueScript.removal, Keys.ofVhost(vhost, "queue"), [])),
    listen: listening(options, listeners)
  }
}

const queueOf = (
  options: Options,
  onWakeUnsafe: SharedQueue["onWakeUnsafe"],
  base: string,
  script: Script
): SharedQueue => {
  const { connection, nodes, now } = options
  const { self } = nodes
  return {
    self,
    run: (turn) =>
      Effect.map(
        run(options, script, base, [...Codec.head("turn", now?.()), ...Codec.encodeTurn(self, turn)]),
        (answer) => Codec.decodeTurn(self, turn.calls, answer)
      ),
    end: (node, isCounted) =>
      Effect.asVoid(run(options, script, base, [...Codec.head("end", now?.()), node, isCounted ? 1 : 0])),
    deadLettersAfter: (cursor) =>
      Effect.mapBoth(
        connection.run(QueueScript.lettersAfter, [`${base}:order`, `${base}:letters`], [cursor, mostLetters]),
        {
          onSuccess: (answer) => Codec.parseLetters(...answer as Parameters<typeof Codec.parseLetters>),
          onFailure: toError
        }
      ),
    deadLetter: (id) =>
      Effect.mapBoth(connection.send("HGET", `${base}:letters`, id), {
        onSuccess: (text) => typeof text === "string" ? Codec.parseLetter(id, text) : undefined,
        onFailure: toError
      }),
    onWakeUnsafe
  }
}

const run = (
  { nodes }: Options,
  script: Script,
  base: string,
  args: ReadonlyArray<string | number>
): Effect.Effect<unknown, SharedQueueError> => Effect.mapError(nodes.run(script, [base], args), toError)

const toError = ({ _tag, message }: { readonly _tag: string; readonly message: string }) =>
  new SharedQueueError({ detail: message, isFenced: _tag === "LeaseLostError" })

// Nobody knows what was said before it is heard.
const listening = ({ connection, nodes }: Options, listeners: Listeners): Effect.Effect<never> => {
  const call = (base: string) => listeners.get(base)?.forEach((listener) => listener())
  const hearing = connection.hear(Keys.wake(nodes.self), () => [...listeners.keys()].forEach(call), call)
  return supervised(
    "What wakes the queues in Redis",
    Effect.forever(Effect.andThen(Effect.ignore(hearing), Effect.sleep(Duration.millis(200))))
  )
}
