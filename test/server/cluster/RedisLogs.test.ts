import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Stream } from "effect"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import { type LogEntry, LogLostError, SharedLogError } from "../../../src/server/engine/SharedLog.ts"
import { eventually } from "../../harness/eventually.ts"
import { redisNode } from "../../harness/redisNode.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

type Node = Effect.Success<ReturnType<typeof redisNode>>

/** A lease that does not end in these tests. */
const long = { lease: 60_000 }

/** Follows a log from after an offset, until the scope ends, and keeps what it gets, also why it ended. */
const follow = Effect.fnUntraced(function*(node: Node, vhost = "/chat", after?: number) {
  const log = node.logOf(vhost)
  const { epoch, offset, parts } = yield* log.start
  const seen: Array<LogEntry> = []
  const following = yield* Effect.forkScoped(
    Effect.flip(
      Stream.runForEach(log.follow(epoch, after ?? offset), (entries) => Effect.sync(() => seen.push(...entries)))
    )
  )
  const until = (count: number) =>
    eventually(Effect.sync(() => seen.map(({ entry }) => entry)), (all) => all.length >= count)
  return { log, epoch, offset, parts, seen, until, following }
})

describeWithRedis("The logs in Redis", () => {
  it.live("have one order for all, in which the entries of a node have the order of its calls", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const nodes = [yield* redisNode(server, long), yield* redisNode(server, long)]
      const followers = yield* Effect.forEach(nodes, (node) => follow(node))
      expect(followers[0]!.epoch).toBe(followers[1]!.epoch)
      const appended = yield* Effect.forEach(followers, ({ log }, index) =>
        Effect.forEach(
          Array.from({ length: 300 }, (_, number) => `${index} ${number}`),
          (entry) => Effect.map(log.append(entry), (offset) => [offset, entry] as const),
          { concurrency: "unbounded" }
        ), { concurrency: "unbounded" })
      for (const { until } of followers) yield* until(600)
      const [one, other] = followers.map(({ seen }) => seen)
      expect(one).toEqual(other)
      expect(one!.map(({ offset }) => offset)).toEqual(Array.from({ length: 600 }, (_, index) => index + 1))
      const byOffset = new Map(one!.map(({ entry, offset }) => [offset, entry]))
      for (const [offset, entry] of appended.flat()) expect(byOffset.get(offset)).toBe(entry)
      for (const [index, node] of nodes.entries()) {
        const own = one!.filter((entry) => entry.node === node.self).map(({ entry }) => entry)
        expect(own).toEqual(Array.from({ length: 300 }, (_, number) => `${index} ${number}`))
      }
      const times = one!.map(({ time }) => time)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
      expect(yield* followers[0]!.log.tail).toBe(600)
    }))

  it.live("are separate for each vhost, and begin anywhere", () =>
    Effect.gen(function*() {
      const node = yield* redisNode(yield* start(), long)
      const chat = yield* follow(node)
      const news = yield* follow(node, "/news")
      yield* Effect.forEach(["a", "b", "\u0000☃\n"], (entry) => chat.log.append(entry))
      yield* news.log.append("n")
      expect(yield* chat.until(3)).toEqual(["a", "b", "\u0000☃\n"])
      expect(yield* news.until(1)).toEqual(["n"])
      const late = yield* follow(node, "/chat", 1)
      expect(yield* late.until(2)).toEqual(["b", "\u0000☃\n"])
      expect(late.seen.map(({ offset }) => offset)).toEqual([2, 3])
    }))

  it.live("say when a node has ended, and nothing of it follows", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* redisNode(server)
      const other = yield* redisNode(server)
      const [mine, theirs] = [yield* follow(one), yield* follow(other)]
      yield* mine.log.append("a")
      yield* one.proxy.stall
      yield* theirs.until(2)
      expect(theirs.seen).toMatchObject([{ entry: "a" }, { node: one.self, entry: undefined, offset: 2 }])
      yield* one.proxy.goOn
      yield* Effect.flip(one.fenced)
      const error = yield* Effect.flip(mine.log.append("b"))
      expect(error).toMatchObject({ _tag: "SharedLogError", wasAppended: "no" })
      yield* theirs.log.append("c")
      expect(yield* theirs.until(3)).toEqual(["a", undefined, "c"])
    }))

  it.live("lose, double and reorder nothing while connections are lost", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* redisNode(server, long)
      const other = yield* redisNode(server, long)
      const [mine, theirs] = [yield* follow(one), yield* follow(other)]
      const results: Array<readonly [entry: string, SharedLogError["wasAppended"] | number]> = []
      yield* Effect.forEach(Array.from({ length: 12 }, (_, index) => index), (round) =>
        Effect.gen(function*() {
          const appending = yield* Effect.forEach(
            ["x", "y", "z"].map((letter) => `${round}${letter}`),
            (entry) =>
              Effect.forkChild(
                Effect.map(Effect.result(mine.log.append(entry)), (result) =>
                  results.push([entry, result._tag === "Success" ? result.success : result.failure.wasAppended])),
                { startImmediately: true }
              )
          )
          if (round % 3 === 0) {
            one.proxy.cutAtNext(round % 2 === 0 ? "answer" : "request")
          }
          if (round % 4 === 1) {
            yield* other.proxy.cut("all")
          }
          yield* Effect.forEach(appending, Fiber.join)
        }))
      yield* mine.log.append("end")
      for (const { until } of [mine, theirs]) {
        yield* eventually(until(1), (all) =>
          all.includes("end"))
      }
      expect(mine.seen).toEqual(theirs.seen)
      const entries = mine.seen.map(({ entry }) =>
        entry
      )
      expect(new Set(entries).size).toBe(entries.length)
      const certain = results.filter(([, result]) => typeof result === "number")
      for (const [entry, offset] of certain) expect(mine.seen[Number(offset) - 1]!.entry).toBe(entry)
      for (const [entry, result] of results) if (result === "no") expect(entries).not.toContain(entry)
      const order = results.map(([entry]) => entry)
      const places = entries.slice(0, -1).map((entry) => order.indexOf(entry!))
      expect(places).toEqual(places.toSorted((a, b) => a - b))
      expect(one.proxy.cutsAtNext()).toBeGreaterThan(2)
    }))

  it.live("begin with the last snapshot, and keep what those who are late have not read", () =>
    Effect.gen(function*() {
      const server = yield* start({ args: ["--stream-node-max-entries", "1"] })
      const node = yield* redisNode(server, long)
      const { epoch, log } = yield* follow(node)
      const append = (count: number) => Effect.forEach(Array.from({ length: count }, () => "e"), log.append)
      yield* append(10)
      expect(yield* log.storeSnapshot(epoch, 11, ["too late"])).toBe(false)
      expect(yield* log.storeSnapshot("other", 5, ["another log"])).toBe(false)
      expect(yield* log.storeSnapshot(epoch, 5, ["one", "☃", "x".repeat(1_000_000)])).toBe(true)
      expect(yield* log.storeSnapshot(epoch, 4, ["too early"])).toBe(false)
      const began = yield* follow(node)
      expect([began.offset, began.parts.map((part) => part.slice(0, 3))]).toEqual([5, ["one", "☃", "xxx"]])
      yield* began.until(5)
      yield* append(10)
      expect(yield* log.storeSnapshot(epoch, 20, ["next"])).toBe(true)
      const late = yield* follow(node, "/chat", 5)
      expect(late.parts).toEqual(["next"])
      yield* late.until(15)
      const tooLate = yield* follow(node, "/chat", 3)
      expect(yield* Fiber.join(tooLate.following)).toBeInstanceOf(LogLostError)
      // What was not completed goes by itself.
      const keys = yield* node.connection.send("KEYS", `${Keys.snapshot("/chat")}*`)
      expect(keys).toHaveLength(2)
    }))

  it.live("go on when Redis was restarted with its data, and are lost without them", () =>
    Effect.gen(function*() {
      const server = yield* start({ persistence: "aof" })
      const node = yield* redisNode(server, long)
      const chat = yield* follow(node)
      yield* chat.log.append("a")
      yield* server.kill
      yield* server.restart
      yield* eventually(Effect.option(chat.log.append("b")), ({ _tag }) => _tag === "Some")
      expect((yield* chat.until(2)).slice(0, 2)).toEqual(["a", "b"])
      yield* node.connection.send("FLUSHALL")
      yield* server.end
      yield* server.restart
      expect(yield* Fiber.join(chat.following)).toBeInstanceOf(LogLostError)
    }))

  it.live("have another epoch when Redis has lost entries that a node has read", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* redisNode(server, long), yield* redisNode(server, long)]
      const [mine, theirs] = [yield* follow(one), yield* follow(other)]
      yield* Effect.forEach(["a", "b", "c"], mine.log.append)
      for (const { until } of [mine, theirs]) yield* until(3)
      // A replica that did not have them yet becomes the primary.
      yield* one.connection.send("XDEL", Keys.log("/chat"), "3-0")
      yield* one.connection.send("HSET", Keys.head("/chat"), "offset", "2")
      yield* one.proxy.cut("all")
      expect(yield* Fiber.join(mine.following)).toBeInstanceOf(LogLostError)
      expect((yield* follow(one)).epoch).not.toBe(mine.epoch)
      // The other one learns of it when it appends.
      expect(yield* Effect.flip(theirs.log.append("d"))).toMatchObject({ wasAppended: "no" })
      expect(yield* Fiber.join(theirs.following)).toBeInstanceOf(LogLostError)
    }))

  it.live("refuse what comes from an old connection after later entries", () =>
    Effect.gen(function*() {
      const node = yield* redisNode(yield* start(), long)
      const { log } = yield* follow(node)
      yield* log.append("a")
      yield* node.connection.send("HSET", Keys.batches, node.self, "100")
      expect(yield* Effect.flip(log.append("late"))).toBeInstanceOf(SharedLogError)
    }))

  it.live("read no more for one who does not take than there is room for", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const node = yield* redisNode(server, long)
      const log = node.logOf("/chat")
      const { epoch } = yield* log.start
      const entry = "x".repeat(500_000)
      const gate = yield* Latch.make()
      const seen: Array<number> = []
      yield* Effect.forkScoped(Stream.runForEach(log.follow(epoch, 0), (entries) =>
        Effect.andThen(
          gate.await,
          Effect.sync(() => seen.push(...entries.map(({ offset }) => offset)))
        )))
      yield* Effect.forEach(Array.from({ length: 40 }), () => log.append(entry))
      // The other logs of the node go on meanwhile.
      const news = yield* follow(node, "/news")
      yield* news.log.append("n")
      yield* news.until(1)
      yield* gate.open
      yield* eventually(Effect.sync(() => seen.length), (length) => length === 40)
      expect(seen).toEqual(Array.from({ length: 40 }, (_, index) => index + 1))
    }))
})
