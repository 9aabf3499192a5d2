import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Deferred, Effect, Exit, Fiber, Result } from "effect"
import { FromClient, FromServer } from "../../../../src/protocol/Command.ts"
import { decodeFromClient } from "../../../../src/protocol/CommandCodec.ts"
import { envelopeSize, type Frames } from "../../../../src/protocol/Frame.ts"
import type { JsonObject } from "../../../../src/protocol/Json.ts"
import * as Permission from "../../../../src/server/domain/Permission.ts"
import { execute } from "../../../../src/server/endpoint/internal/clientCommands.ts"
import * as Vhosts from "../../../../src/server/engine/Vhosts.ts"
import { settings } from "../../../harness/engine.ts"
import * as FakeBrowser from "../../../harness/FakeBrowser.ts"
import { costly, int, jsonObject, pick } from "../../../protocol/arbitraries.ts"

/** A vhost with these channels, and a way to run it. */
const makeVhost = Effect.fnUntraced(function*(...channels: ReadonlyArray<string>) {
  const vhosts = yield* Effect.provide(Vhosts.make, settings())
  const vhost = yield* vhosts.add({ path: "/test", channels })
  const run = (command: FromClient, maxMessageSize = 1_048_576) =>
    execute(vhost, command as Parameters<typeof execute>[1], maxMessageSize)
  return {
    vhost,
    run,
    /** The value of the response. */
    query: (command: FromClient, maxMessageSize?: number) =>
      Effect.map(run(command, maxMessageSize), (response) => {
        expect(response._tag).toBe("Response")
        return JSON.parse(response._tag === "Response" ? response.json : "") as unknown
      }),
    codeOf: (...frames: Frames) =>
      Effect.fromResult(decodeFromClient(frames)).pipe(
        Effect.flatMap((command) => run(command)),
        Effect.match({ onFailure: ({ code }) => code, onSuccess: ({ _tag }) => _tag })
      )
  }
})

type World = Effect.Success<ReturnType<typeof makeVhost>>

/** A browser on these channels, as this user. */
const enter = Effect.fnUntraced(function*(
  { vhost }: World,
  sid: string,
  channels: ReadonlyArray<string>,
  options: { readonly uid?: string; readonly hidden?: boolean; readonly data?: JsonObject } = {}
) {
  const browser = FakeBrowser.make(sid)
  const { data = {}, hidden = false, uid } = options
  vhost.browsers.enterUnsafe(browser)
  if (uid !== undefined) Effect.runSync(vhost.browsers.identify(browser, uid))
  const permission = uid === undefined ? undefined : Result.getOrThrow(Permission.make(uid, ".*"))
  for (const channel of channels) yield* vhost.channels.subscribe(channel, browser, { permission, hidden, data })
  browser.received()
  return browser
})

/** Dead letters, each with what it is told to be. */
const die = (
  { vhost }: World,
  ...letters: ReadonlyArray<Partial<Parameters<Vhosts.Vhost["deadLetters"]["add"]>[0]>>
) =>
  Effect.forEach(
    letters,
    (letter) =>
      vhost.deadLetters.add({ id: "", json: `{"e":{}}`, origin: undefined, attempts: 2, reason: "no luck", ...letter }),
    { discard: true }
  )

/** What is said of such a letter besides what it is. */
const untold = { origin: {}, attempts: 2, reason: "no luck", failedAt: 0 }

const { BroadcastAll, DescribeChannel, Disconnect, ListChannels, ListSubscribers, SendTo } = FromClient
const { DiscardDeadLetter, DiscardDeadLetters, ListDeadLetters, ReplayDeadLetter, ReplayDeadLetters } = FromClient

const broadcastAll = (...broadcasts: ReadonlyArray<unknown>) => BroadcastAll({ broadcasts: JSON.stringify(broadcasts) })

describe("broadcast", () => {
  it.effect("is answered when it is applied, in the same step or later", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost("room")
      const { channels } = world.vhost
      const commands = ["room", "nowhere"].map((channel) =>
        FromClient.Broadcast({ channel, event: "hello", data: "{}", exceptSid: undefined })
      )
      const now = commands.map((command) => world.run(command))
      expect(now).toMatchObject([Exit.succeed(FromServer.Ok()), { _tag: "Failure" }])

      const isApplied = yield* Deferred.make<void>()
      const broadcastUnsafe: typeof channels.broadcastUnsafe = (broadcast) =>
        Effect.andThen(Deferred.await(isApplied), Effect.suspend(() => channels.broadcastUnsafe(broadcast)))
      const late = { ...world.vhost, channels: { ...channels, broadcastUnsafe } }
      const fibers = yield* Effect.forEach(
        [...commands, broadcastAll(["room", "e", {}], ["nowhere", "e", {}])],
        (command) => Effect.forkChild(Effect.exit(execute(late, command, 1000)), { startImmediately: true })
      )
      expect(fibers.map((fiber) => fiber.pollUnsafe())).toEqual([undefined, undefined, undefined])
      yield* Deferred.succeed(isApplied, undefined)
      expect(yield* Effect.forEach(fibers, Fiber.join)).toMatchObject([
        Exit.succeed(FromServer.Ok()),
        { _tag: "Failure" },
        Exit.succeed(FromServer.Response({ json: "[204,454]" }))
      ])
    }))
})

describe("answer", () => {
  it.effect("executes the original's commands", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost("room")
      const browser = yield* enter(world, "a", ["room"])
      expect(yield* world.run(FromClient.OpenChannel({ channel: "new" }))).toEqual(FromServer.Ok())
      expect(yield* world.run(FromClient.Broadcast({ channel: "room", event: "e", data: `{"n":1}` }))).toEqual(
        FromServer.Ok()
      )
      expect(browser.received()).toEqual([{ e: { n: 1, channel: "room" } }])
      expect(yield* world.run(FromClient.AccessToken({ uid: "joe", pattern: ".*" }))).toEqual({
        _tag: "AccessTokenIssued",
        token: expect.stringMatching(/^[0-9a-f]{128}$/) as string
      })
      expect(yield* world.run(FromClient.CloseChannel({ channel: "room" }))).toEqual(FromServer.Ok())
      expect(browser.received()).toEqual([{ ":unsubscribed": { channel: "room" } }])
    }))

  it.effect("excludes one browser from a broadcast", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost("room")
      const [a, b] = [yield* enter(world, "a", ["room"]), yield* enter(world, "b", ["room"])]
      yield* world.run(FromClient.Broadcast({ channel: "room", event: "e", data: "{}", exceptSid: "a" }))
      expect([a.received(), b.received()]).toEqual([[], [{ e: { channel: "room" } }]])
    }))

  it.effect.each<[Frames, number]>([
    [["OC", "%%%"], 451],
    [["CC", "nope"], 454],
    [["BC", "nope", "e", "{}"], 454],
    [["BX", "nope", "e", "{}", "s"], 454],
    [["AT", "joe", "("], 597],
    [["AT", "u".repeat(1001), ".*"], 597],
    [["ST", "nobody", "e", "{}"], 455],
    [["DC", "nope"], 454],
    [["LS", "nope", "0"], 454],
    [["LS", "__proto__", "0"], 454],
    [["RL", "nope"], 456],
    [["RL", "a b"], 456],
    [["RL", "__proto__"], 456],
    [["DL", "nope"], 456],
    [["DL", ""], 400],
    [["RD"], 400],
    [["HB"], 400],
    [["QT"], 400]
  ])("of %j is the status %i", ([frames, code]) =>
    Effect.gen(function*() {
      const { codeOf } = yield* makeVhost("room")
      expect(yield* codeOf(...frames)).toBe(code)
    }))

  describe("to many broadcasts", () => {
    it.effect("has a status for each, in order, and executes the others if one fails", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost("room", "other")
        const browser = yield* enter(world, "a", ["room", "other"])
        expect(
          yield* world.query(broadcastAll(
            ["room", "e1", { n: 1 }],
            ["nope", "e2", {}],
            ["other", "e3", {}],
            ["", "e4", {}],
            ["room", "e5", {}]
          ))
        ).toEqual([204, 454, 204, 454, 204])
        expect(browser.received()).toEqual([
          { e1: { n: 1, channel: "room" } },
          { e3: { channel: "other" } },
          { e5: { channel: "room" } }
        ])
        expect(yield* world.query(broadcastAll())).toEqual([])
      }))

    it.effect("excludes its own browser from each", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost("room")
        const [a, b] = [yield* enter(world, "a", ["room"]), yield* enter(world, "b", ["room"])]
        yield* world.query(broadcastAll(["room", "e1", {}, "a"], ["room", "e2", {}, "b"], ["room", "e3", {}]))
        const [e1, e2, e3] = ["e1", "e2", "e3"].map((event) => ({ [event]: { channel: "room" } }))
        expect([a.received(), b.received()]).toEqual([[e2, e3], [e1, e3]])
      }))

    it.effect("carries data unchanged", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost("room")
        const told: Array<string> = []
        const browser = FakeBrowser.make("a", (message) => told.push(message))
        yield* world.vhost.channels.subscribe("room", browser, { permission: undefined, hidden: false, data: {} })
        told.length = 0
        const data = `"__proto__":{"x":1},"constructor":{"__proto__":[{"__proto__":null}]},"toJSON":3,"":"\\ud800"`
        yield* world.query(BroadcastAll({ broadcasts: `[["room","__proto__",{${data}}]]` }))
        expect(told).toEqual([`{"__proto__":{${data},"channel":"room"}}`])
      }))

    it.effect.each([
      "not json",
      "",
      "null",
      "{}",
      `"room"`,
      `["room","e",{}]`,
      `[["room","e"]]`,
      `[["room","",{}]]`,
      `[["room","",{},"s"]]`,
      `[["room","e",[]]]`,
      `[["room","e","{}"]]`,
      `[["room","e",null]]`,
      `[["room",7,{}]]`,
      `[[7,"e",{}]]`,
      `[["room","e",{},7]]`,
      `[["room","e",{},null]]`,
      `[["room","e",{},"s","more"]]`,
      `[{"channel":"room","event":"e","data":{}}]`,
      `[["room","e",{"a":${"[".repeat(300)}${"]".repeat(300)}}]]`
    ])("is 400 if they are invalid, and nothing is broadcast: %.60s", (bad) =>
      Effect.gen(function*() {
        const world = yield* makeVhost("room")
        const browser = yield* enter(world, "a", ["room"])
        const both = bad.startsWith("[[") ? `[["room","first",{}],${bad.slice(1)}` : bad
        expect((yield* Effect.flip(world.run(BroadcastAll({ broadcasts: both })))).code).toBe(400)
        expect(browser.received()).toEqual([])
      }))
  })

  it.effect("to an event for one browser is OK if that is connected", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost("room")
      const [a, b] = [yield* enter(world, "a", ["room"]), yield* enter(world, "b", ["room"])]
      expect(yield* world.run(SendTo({ sid: "a", event: "e", data: `{"sid":"x"}` }))).toEqual(FromServer.Ok())
      for (const data of ["", "[1]", "no json", "null"]) yield* world.run(SendTo({ sid: "a", event: "f", data }))
      expect(a.received()).toEqual([{ e: { sid: "x" } }, { f: {} }, { f: {} }, { f: {} }, { f: {} }])
      expect(b.received()).toEqual([])
    }))

  it.effect("to a disconnect is the number of browsers", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const a = yield* enter(world, "a", [], { uid: "joe" })
      const b = yield* enter(world, "b", [], { uid: "joe" })
      const c = yield* enter(world, "c", [])
      expect(yield* world.query(Disconnect({ by: "uid", who: "joe" }))).toEqual({ disconnected: 2 })
      expect(yield* world.query(Disconnect({ by: "sid", who: "c" }))).toEqual({ disconnected: 1 })
      expect(yield* world.query(Disconnect({ by: "sid", who: "joe" }))).toEqual({ disconnected: 0 })
      expect([a, b, c].map((browser) => browser.closedWith())).toEqual([4403, 4403, 4403])
    }))

  it.effect("describes channels and their subscribers", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost("room", "presence-a", "private-a")
      yield* enter(world, "a", ["room", "presence-a", "private-a"], { uid: "joe", data: { name: "Joe" } })
      yield* enter(world, "b", ["room", "presence-a"], { uid: "ann", hidden: true })
      yield* enter(world, "c", ["room"])
      const described = { name: "presence-a", subscribers: 2 }
      expect(yield* world.query(DescribeChannel({ channel: "presence-a" }))).toEqual(described)
      expect(yield* world.query(ListChannels({ prefix: "", after: 0 }))).toEqual({
        channels: [{ name: "room", subscribers: 3 }, described, { name: "private-a", subscribers: 1 }],
        next: null
      })
      expect(yield* world.query(ListChannels({ prefix: "pr", after: 0 }))).toMatchObject({
        channels: [{ name: "presence-a" }, { name: "private-a" }]
      })
      expect(yield* world.query(ListSubscribers({ channel: "room", after: 0 }))).toEqual({
        subscribers: [{ sid: "a", data: { name: "Joe" } }, { sid: "c", data: {} }],
        next: null
      })
      for (const channel of ["presence-a", "private-a"]) {
        expect(yield* world.query(ListSubscribers({ channel, after: 0 }))).toEqual({
          subscribers: [{ sid: "a", uid: "joe", data: { name: "Joe" } }],
          next: null
        })
      }
    }))

  describe("to commands for dead letters", () => {
    it.effect("replays one and all, with the number that is left if the queue is full", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* die(world, ...["a", "b", "c"].map((id) => ({ id })))
        expect(yield* world.run(ReplayDeadLetter({ id: "b" }))).toEqual(FromServer.Ok())
        expect((yield* Effect.flip(world.run(ReplayDeadLetter({ id: "b" })))).code).toBe(456)
        expect(yield* world.query(ReplayDeadLetters())).toEqual({ replayed: 2, left: 0 })
        expect((yield* world.vhost.lobby.info).queued).toBe(3)
        // As many as can wait.
        yield* Effect.forEach(Array.from({ length: 9_996 }), () => world.vhost.lobby.enqueue("{}"), { discard: true })
        yield* die(world, { id: "d" }, { id: "e" }, { id: "f" })
        expect(yield* world.query(ReplayDeadLetters())).toEqual({ replayed: 1, left: 2 })
        expect((yield* Effect.flip(world.run(ReplayDeadLetter({ id: "e" })))).code).toBe(597)
        expect((yield* world.vhost.deadLetters.list).map(({ id }) => id)).toEqual(["e", "f"])
      }))

    it.effect("discards one and all", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* die(world, ...["a", "b", "c"].map((id) => ({ id })))
        expect(yield* world.run(DiscardDeadLetter({ id: "b" }))).toEqual(FromServer.Ok())
        expect((yield* Effect.flip(world.run(DiscardDeadLetter({ id: "b" })))).code).toBe(456)
        expect((yield* world.vhost.deadLetters.list).map(({ id }) => id)).toEqual(["a", "c"])
        expect(yield* world.query(DiscardDeadLetters())).toEqual({ discarded: 2 })
        expect(yield* world.query(DiscardDeadLetters())).toEqual({ discarded: 0 })
        expect((yield* world.vhost.lobby.info).queued).toBe(0)
      }))
  })

  describe("to a list", () => {
    type Part = { readonly next: number | null } & { readonly [List in string]: ReadonlyArray<unknown> }

    /** All parts of a list, none larger than may be. */
    const partsOf = Effect.fnUntraced(function*(
      world: World,
      list: (after: number) => FromClient,
      maxMessageSize: number
    ) {
      const parts: Array<Part> = []
      for (let after: number | null = 0; after !== null;) {
        const answered: FromServer = yield* world.run(list(after), maxMessageSize)
        const json: string = answered._tag === "Response" ? answered.json : expect.fail(answered._tag)
        expect(Buffer.byteLength(json)).toBeLessThanOrEqual(maxMessageSize - envelopeSize)
        const part = JSON.parse(json) as Part
        parts.push(part)
        if (part.next !== null) expect(part.next).toBeGreaterThan(after)
        after = part.next
      }
      return parts
    })

    it.effect.prop("has parts that fit, with everything once and in order", [
      Arbitrary.array(
        Arbitrary.all({ letter: pick(["a", "ż", "😀", "\""]), length: int(0, 40), hidden: pick([true, false, false]) }),
        { maxLength: 20 }
      ),
      int(600, 1500)
    ], ([people, maxMessageSize]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost(
          "presence-a",
          ...people.map(({ length }, n) => `c${n}-${"x".repeat(length * 5)}`)
        )
        const expected: Array<unknown> = []
        for (const [n, { hidden, length, letter }] of people.entries()) {
          const data = { name: letter.repeat(length) }
          yield* enter(world, `sid${n}`, ["presence-a"], { uid: "joe", hidden, data })
          if (!hidden) expected.push({ sid: `sid${n}`, uid: "joe", data })
        }
        const on = yield* partsOf(
          world,
          (after) => ListSubscribers({ channel: "presence-a", after }),
          maxMessageSize
        )
        expect(on.flatMap(({ subscribers }) => subscribers)).toEqual(expected)
        const open = yield* partsOf(world, (after) => ListChannels({ prefix: "c", after }), maxMessageSize)
        expect(open.flatMap(({ channels }) => channels)).toEqual(
          (yield* world.vhost.channels.list).slice(1).map(({ name, subscribers }) => ({ name, subscribers }))
        )
        // As much as fits in each.
        for (const parts of [on, open]) {
          for (const [index, part] of parts.slice(0, -1).entries()) {
            const [first] = Object.values(parts[index + 1]!)[0] as ReadonlyArray<unknown>
            const more = Buffer.byteLength(JSON.stringify(part)) + Buffer.byteLength(JSON.stringify(first))
            expect(more).toBeGreaterThan(maxMessageSize - envelopeSize - 110)
          }
        }
      }), costly(50))

    const ListLetters = (after: number) => ListDeadLetters({ after })

    it.effect.prop("of dead letters has parts that fit, with everything once and in order", [
      Arbitrary.array(Arbitrary.all([jsonObject, pick([0, 10, 300, 2000])]), { maxLength: 12 }),
      int(1000, 2500)
    ], ([letters, maxMessageSize]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* die(
          world,
          ...letters.map(([data, length], n) => ({
            id: `a-${n}`,
            json: JSON.stringify({ [`e${n}`]: { ...data, more: "ż".repeat(length) } })
          }))
        )
        const told = (yield* partsOf(world, ListLetters, maxMessageSize)).flatMap(({ deadLetters }) => deadLetters)
        const expected = (yield* world.vhost.deadLetters.list).map(({ id, json }, n) => {
          const data = (JSON.parse(json) as JsonObject)[`e${n}`]
          return { id, event: `e${n}`, data, size: Buffer.byteLength(json), ...untold }
        })
        expect(told).toEqual(expected.map((letter) => {
          const fits = Buffer.byteLength(JSON.stringify(letter)) + 101 <= maxMessageSize - envelopeSize
          return fits ? letter : { ...letter, data: null }
        }))
      }), costly(50))

    it.effect("of dead letters has up to a thousand in a part", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const ids = Array.from({ length: 1000 }, (_, n) => `a-${n}`)
        yield* die(world, ...ids.map((id) => ({ id, json: JSON.stringify({ e: { text: "x".repeat(3000) } }) })))
        const parts = yield* partsOf(world, ListLetters, 1_048_576)
        expect(parts.length).toBeGreaterThan(2)
        expect(parts.flatMap(({ deadLetters }) => (deadLetters as Array<{ id: string }>).map(({ id }) => id))).toEqual(
          ids
        )
      }))

    it.effect("of dead letters has one as large as a message without its data", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const maxMessageSize = 1_048_576
        const json = (text: string) => JSON.stringify({ e: { text } })
        const largest = json("x".repeat(maxMessageSize - envelopeSize - json("").length))
        // The vhost takes it.
        yield* world.vhost.lobby.enqueue(largest)
        const named = JSON.stringify({ ["é".repeat(400_000)]: {} })
        yield* die(world, { id: "a" }, { id: "b", json: largest }, { id: "c", json: named }, { id: "d" })
        const parts = yield* partsOf(world, ListLetters, maxMessageSize)
        expect(parts.flatMap(({ deadLetters }) => deadLetters)).toEqual([
          { id: "a", event: "e", data: {}, size: 8, ...untold },
          { id: "b", event: "e", data: null, size: largest.length, ...untold },
          { id: "c", event: "é".repeat(400_000), data: {}, size: Buffer.byteLength(named), ...untold },
          { id: "d", event: "e", data: {}, size: 8, ...untold }
        ])
        const short = yield* partsOf(world, ListLetters, 10_000)
        expect(short.flatMap(({ deadLetters }) => deadLetters)[2]).toMatchObject({
          event: `${"é".repeat(200)}…`,
          data: null
        })
      }))

    it.effect("of dead letters has their origins, and no data of what is not an event", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* die(
          world,
          { id: "a", origin: `{"sid":"s","uid":"joe","channel":"room","traceparent":"x"}` },
          { id: "b", origin: "not json", reason: "\ud800 no\nluck" },
          { id: "c", json: "{}" }
        )
        expect(yield* world.query(ListLetters(0))).toEqual({
          deadLetters: [
            { id: "a", event: "e", data: {}, size: 8, ...untold, origin: { sid: "s", uid: "joe", channel: "room" } },
            { id: "b", event: "e", data: {}, size: 8, ...untold, reason: "\ud800 no\nluck" },
            { id: "c", event: "", data: null, size: 2, ...untold }
          ],
          next: null
        })
      }))

    it.effect("continues if the last entry of a part was removed", () =>
      Effect.gen(function*() {
        const names = Array.from({ length: 20 }, (_, n) => `channel-${n}`)
        const world = yield* makeVhost(...names)
        const list = (after: number) => world.query(ListChannels({ prefix: "", after }), 600) as Effect.Effect<Part>
        const first = yield* list(0)
        const got = first.channels!.map((channel) => (channel as { readonly name: string }).name)
        expect(got).toEqual(names.slice(0, got.length))
        for (const name of got) yield* world.run(FromClient.CloseChannel({ channel: name }))
        const second = yield* list(first.next!)
        expect(second.channels![0]).toEqual({ name: names[got.length], subscribers: 0 })
      }))

    it.effect("has an entry that is larger than the limit alone", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost("presence-a")
        for (const sid of ["a", "b"]) {
          yield* enter(world, sid, ["presence-a"], { uid: "joe", data: { text: "x".repeat(1000) } })
        }
        const list = (after: number) =>
          world.query(ListSubscribers({ channel: "presence-a", after }), 500) as Effect.Effect<Part>
        const first = yield* list(0)
        expect(first.subscribers).toMatchObject([{ sid: "a" }])
        const second = yield* list(first.next!)
        expect(second).toMatchObject({ subscribers: [{ sid: "b" }], next: null })
      }))
  })
})
