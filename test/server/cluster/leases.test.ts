/**
 * The scripts of leases and of logs against a model, with a time that the test sets: three processes join, renew, append, end in
 * order or stand still, in any order.
 */
import { expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { inspect } from "node:util"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as LeaseScripts from "../../../src/server/cluster/internal/leaseScripts.ts"
import * as LogScripts from "../../../src/server/cluster/internal/logScripts.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import * as Script from "../../../src/server/cluster/Script.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"
import { costly, int, oneOf, pick } from "../../protocol/arbitraries.ts"

const lease = 6000
const time = "test:now"

/** The script, with the test's time instead of Redis' own. */
const timed = (script: Script.Script): Script.Script => {
  const lua = script.lua.replace(Script.now, `local function now() return tonumber(redis.call('GET', '${time}')) end\n`)
  return Script.make(lua)
}
const scripts = {
  join: timed(LeaseScripts.join),
  renew: timed(LeaseScripts.renew),
  leave: timed(LeaseScripts.leave),
  append: timed(LogScripts.append)
}

type Step =
  | { readonly do: "join" | "renew" | "leave" | "append" | "late"; readonly slot: number }
  | { readonly do: "wait"; readonly millis: number }

const step: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  Arbitrary.map(pick([0, 1, 2]), (slot) => ({ do: "join", slot })),
  Arbitrary.map(pick([0, 1, 2]), (slot) => ({ do: "renew", slot })),
  Arbitrary.map(pick([0, 1, 2]), (slot) => ({ do: "renew", slot })),
  Arbitrary.map(pick([0, 1, 2]), (slot) => ({ do: "append", slot })),
  Arbitrary.map(pick([0, 1, 2]), (slot) => ({ do: "late", slot })),
  Arbitrary.map(pick([0, 1, 2]), (slot) => ({ do: "leave", slot })),
  Arbitrary.map(int(1, 8000), (millis) => ({ do: "wait", millis }))
)

/** What the scripts promise, without Redis. */
const makeModel = () => {
  const leases = new Map<string, number>()
  const log: Array<readonly [node: string, time: number, entry: string | undefined]> = []
  let [calm, renewed] = [0, Infinity]
  const end = (node: string, now: number) => {
    leases.delete(node)
    log.push([node, now, undefined])
  }
  return {
    leases,
    log,
    join: (node: string, now: number) => void leases.set(node, now + lease),
    renew: (node: string, now: number): ReadonlyArray<string> | "lost" => {
      if (!leases.has(node)) return "lost"
      const away = now - renewed
      if (away > lease || away > lease / 2 && now > calm + lease) calm = now + lease
      renewed = now
      leases.set(node, now + lease)
      if (now < calm) return []
      const over = [...leases].filter(([, ends]) => ends < now).toSorted(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))
      for (const [other] of over) end(other, now)
      return over.map(([other]) => other)
    },
    leave: (node: string, now: number) => leases.has(node) ? end(node, now) : "lost",
    append: (node: string, now: number, entry: string) => leases.has(node) ? log.push([node, now, entry]) : "lost"
  }
}

describeWithRedis("The scripts of leases", () => {
  it.live("end each lease once, let nobody change anything without one, and give all one log", () =>
    Effect.gen(function*() {
      const redis = yield* Connection.make((yield* start()).url)
      const checked = yield* Arbitrary.checkEffect(
        Arbitrary.array(step, { maxLength: 60 }),
        (steps) => Effect.as(Effect.catchDefect(check(redis, steps), Effect.fail), true),
        { ...costly(50, 60).arbitrary, maxShrinks: 300 }
      )
      if (checked._tag === "Falsified") expect.fail(inspect(checked, { depth: 5 }))
      expect(checked._tag).toBe("Passed")
    }))

  it.live("end none after Redis stood still for less than a lease, until all have had the time to come back", () =>
    Effect.gen(function*() {
      const redis = yield* Connection.make((yield* start()).url)
      const at = (now: number, script: Script.Script, node: string, ...args: ReadonlyArray<string | number>) =>
        Effect.andThen(redis.send("SET", time, String(now)), redis.run(script, [Keys.leases], [node, ...args]))
      const renew = (now: number, node: string) => at(now, scripts.renew, node, "{}", lease)
      yield* redis.send("SET", time, "10000")
      for (const node of ["early", "late", "gone"]) {
        yield* redis.run(scripts.join, [], [node, "{}", lease, Keys.layoutVersion])
      }
      yield* renew(10_100, "early")
      yield* renew(12_000, "late")
      // From 12.1 to 16.9 seconds; the connection of `early` must be opened again, and its lease was over at 16.1.
      expect(yield* renew(16_900, "late")).toEqual([])
      expect(yield* renew(18_900, "early")).toEqual([])
      for (const now of [18_950, 20_950, 22_800]) expect(yield* renew(now, "late")).toEqual([])
      expect(yield* renew(22_850, "early")).toEqual([])
      // It has not come back.
      expect(yield* renew(22_901, "early")).toEqual(["gone"])
    }))

  it.live("end those of nodes that are gone though the only other one is always late", () =>
    Effect.gen(function*() {
      const redis = yield* Connection.make((yield* start()).url)
      yield* redis.send("SET", time, "10000")
      for (const node of ["slow", "gone"]) {
        yield* redis.run(scripts.join, [], [node, "{}", lease, Keys.layoutVersion])
      }
      const ended: Array<unknown> = []
      for (let now = 12_000; now <= 28_000; now += 4000) {
        yield* redis.send("SET", time, String(now))
        ended.push(yield* redis.run(scripts.renew, [Keys.leases], ["slow", "{}", lease]))
      }
      expect(ended).toEqual([[], [], [], ["gone"], []])
    }))
})

const check = Effect.fnUntraced(function*(redis: Connection.Connection, steps: ReadonlyArray<Step>) {
  yield* redis.send("FLUSHALL")
  yield* redis.send("SADD", Keys.logs, "/chat")
  yield* redis.send("HSET", Keys.head("/chat"), "epoch", "e")
  const model = makeModel()
  const nodes: Array<string | undefined> = [undefined, undefined, undefined]
  let [now, joined, batch] = [1_000_000, 0, 0]
  const run = (script: Script.Script, node: string, ...args: ReadonlyArray<string | number>) =>
    Effect.catchIf(
      redis.run(script, [Keys.leases], [node, ...args]),
      ({ message }) => message.includes(Script.leaseLost),
      () => Effect.succeed("lost")
    )
  for (const step of steps) {
    yield* redis.send("SET", time, String(now))
    if (step.do === "wait") now += step.millis
    else if (step.do === "join") {
      const node = nodes[step.slot] = `node${joined++}`
      expect(yield* redis.run(scripts.join, [], [node, "{}", lease, Keys.layoutVersion])).toBe(1)
      model.join(node, now)
    } else if (nodes[step.slot] !== undefined) {
      const node = nodes[step.slot]!
      if (step.do === "renew") {
        expect(yield* run(scripts.renew, node, "{}", lease)).toEqual(model.renew(node, now))
      } else if (step.do === "leave") {
        expect(yield* run(scripts.leave, node)).toBe(model.leave(node, now) ?? 1)
      } else if (step.do === "append") {
        const entry = `entry ${++batch}`
        expect(yield* run(scripts.append, node, batch, "/chat", "e", entry)).toEqual(
          model.append(node, now, entry) === "lost" ? "lost" : [model.log.length]
        )
      } else {
        // From a connection that was given up: there was a later batch.
        const late = yield* Effect.result(redis.run(scripts.append, [Keys.leases], [node, 0, "/chat", "e", "late"]))
        expect(late._tag).toBe("Failure")
      }
    }
  }
  const leases = (yield* redis.send("ZRANGE", Keys.leases, "0", "-1", "WITHSCORES")) as ReadonlyArray<string>
  expect(new Map(leases.flatMap((node, index) => index % 2 === 0 ? [[node, Number(leases[index + 1])]] : []))).toEqual(
    model.leases
  )
  const log = (yield* redis.send("XRANGE", Keys.log("/chat"), "-", "+")) as ReadonlyArray<
    readonly [string, ReadonlyArray<string>]
  >
  expect(log.map(([id, [, node, , time, , entry]]) => [id, node, Number(time), entry])).toEqual(
    model.log.map((entry, index) => [`${index + 1}-0`, ...entry])
  )
  const ended = (yield* redis.send("SMEMBERS", Keys.ended("/chat"))) as ReadonlyArray<string>
  expect(ended.toSorted()).toEqual(
    model.log.flatMap(([node, , entry]) => entry === undefined ? [node] : []).toSorted()
  )
})
