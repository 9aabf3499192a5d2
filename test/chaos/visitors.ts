/**
 * Users that come to a presence channel and go again, as browsers of the library. At rest it is known who is there.
 */
import { type Duration, Effect, Fiber, Random, Redacted } from "effect"
import * as Script from "../../src/browser/script.ts"
import type { Client } from "../../src/index.ts"
import { eventually } from "../harness/eventually.ts"

/** The channel that they come to. */
export const channel = "presence-room"

/** How many there are. Every second one stays at the end. */
const count = 6

interface Visit {
  readonly uid: string
  readonly connection: ReturnType<typeof Script.connect>
  readonly subscription: ReturnType<ReturnType<typeof Script.connect>["subscribe"]>
}

/** Begins one visit. Reconnecting is its own. */
const begin = (url: string, uid: string, client: Client.Client["Service"]) =>
  Effect.acquireRelease(
    Effect.sync((): Visit => {
      const connection = Script.connect(url, {
        token: () => Effect.runPromise(Effect.map(client.requestSingleAccessToken(uid, ".*"), Redacted.value))
      })
      return { uid, connection, subscription: connection.subscribe(channel) }
    }),
    ({ connection }) => Effect.sync(connection.close)
  )

/** Lets users come and go until they are told to rest. `client` gets them their tokens. */
export const beginVisiting = Effect.fnUntraced(function*(url: string, client: Client.Client["Service"]) {
  const staying: Array<Visit> = []
  let enough = false
  const visit = (uid: string) =>
    Effect.scoped(Effect.andThen(begin(url, uid, client), Effect.flatMap(Random.nextBetween(0, 3000), Effect.sleep)))
  const live = Effect.fnUntraced(function*(number: number) {
    const uid = `user ${number}`
    while (!enough) {
      yield* visit(uid)
      yield* Effect.flatMap(Random.nextBetween(0, 500), Effect.sleep)
    }
    if (number % 2 === 0) staying.push(yield* begin(url, uid, client))
  })
  const fibers = yield* Effect.forEach(
    Array.from({ length: count }, (_, number) => number),
    (number) => Effect.forkScoped(live(number))
  )
  return {
    /** Nobody comes or goes any more. */
    rest: Effect.suspend(() => {
      enough = true
      return Fiber.joinAll(fibers)
    }),
    /** Who is there then. */
    there: () => staying.map(({ uid }) => uid).toSorted(),
    /** Waits until all see the same: nodes by their Clients, and users. Returns who does not in the end. */
    seen: Effect.fnUntraced(function*(
      clients: ReadonlyArray<Client.Client["Service"]>,
      patience: Duration.Input | undefined
    ) {
      const there = staying.map(({ uid }) => uid).toSorted().join(", ")
      const textOf = (members: ReadonlyArray<{ readonly uid: string }>) =>
        members.map(({ uid }) => uid).toSorted().join(", ")
      const wrongs = Effect.gen(function*() {
        const byNodes = yield* Effect.forEach(
          clients,
          ({ members }) => Effect.match(members(channel), { onFailure: String, onSuccess: textOf })
        )
        const byUsers = staying.map(({ subscription: { members, state } }) =>
          state._tag === "Subscribed" ? textOf(members) : state._tag
        )
        return [
          ...byNodes.flatMap((seen, node) => seen === there ? [] : [`node ${node} sees ${seen} and not ${there}`]),
          ...byUsers.flatMap((seen, index) =>
            seen === there ? [] : [`${staying[index]!.uid} sees ${seen} and not ${there}`]
          )
        ]
      })
      return yield* patiently(wrongs, patience)
    })
  }
})

/** What is wrong even after a while, by default a minute. */
export const patiently = Effect.fnUntraced(function*(
  wrongs: Effect.Effect<ReadonlyArray<string>>,
  patience: Duration.Input = "1 minute"
) {
  let last: ReadonlyArray<string> = []
  const look = Effect.tap(Effect.delay(wrongs, "200 millis"), (seen) => Effect.sync(() => void (last = seen)))
  yield* Effect.timeoutOption(eventually(look, (seen) => seen.length === 0, Infinity), patience)
  return last
})
