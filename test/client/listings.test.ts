/** What a Client can know of channels and browsers, and browsers that it disconnects. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { Client } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { additions, answeredBy, over, subscribed } from "../harness/clients.ts"
import { eventually } from "../harness/eventually.ts"
import { tagOf } from "../harness/tagOf.ts"
import { TestBroker, transports } from "../harness/TestBroker.ts"

describe.each(transports)("Client over $name", ({ url }) => {
  const { within } = over(url)

  it.live("lists channels in the order of their opening, all or by a prefix", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      yield* subscribed("presence-room")
      const presence = { name: "presence-room", kind: "presence", subscribers: 1 } as const
      const privately = { name: "private-room", kind: "private", subscribers: 0 } as const
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels()), [
        { name: "room", kind: "normal", subscribers: 0 },
        presence,
        privately
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels({ prefix: "pr" })), [presence, privately])
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels({ prefix: "presence-" })), [presence])
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels({ prefix: "nope" })), [])
      assert.deepStrictEqual(yield* client.channel("private-room"), privately)
      for (const name of ["nope", "", "a b"]) {
        assert.deepInclude(yield* Effect.flip(client.channel(name)), { _tag: "ChannelNotFoundError", channel: name })
      }
    })))

  it.live("lists more channels and more browsers than one message can hold", () =>
    within(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const { vhost } = yield* TestBroker
        const names = Array.from({ length: 200 }, (_, n) => `channel-${n}${"-x".repeat(n % 30)}`)
        for (const name of names) yield* vhost.channels.open(name)
        assert.deepStrictEqual(
          (yield* Stream.runCollect(client.channels({ prefix: "channel-" }))).map(({ name }) => name),
          names
        )
        const browsers = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, n) => ({ name: "ż".repeat(n * 10) })),
          (data) =>
            Effect.map(
              subscribed("presence-room", { data }),
              ({ sid }) => ({ sid, uid: "joe", info: undefined, data, isAway: false })
            )
        )
        assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("presence-room")), browsers)
      }),
      { maxMessageSize: 1000 }
    ))

  it.live("lists the subscribers of a channel that are not hidden", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const joe = yield* subscribed("presence-room", { data: { name: "Joe" } })
      const spy = yield* subscribed("room")
      const issued = yield* client.requestSingleAccessToken("spy", ".*")
      yield* spy.send({ auth: { token: Redacted.value(issued) } })
      yield* spy.send({ subscribe: { channel: "presence-room", hidden: true } })
      yield* spy.nextOf(":subscribed")
      yield* spy.send({ unsubscribe: { channel: "room" } })
      yield* spy.send({ subscribe: { channel: "room", data: { n: 1 } } })
      yield* spy.nextOf(":subscribed")
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("presence-room")), [
        { sid: joe.sid, uid: "joe", info: undefined, data: { name: "Joe" }, isAway: false }
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("room")), [{
        sid: spy.sid,
        uid: undefined,
        info: undefined,
        data: { n: 1 },
        isAway: false
      }])
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("private-room")), [])
      assert.strictEqual((yield* client.channel("presence-room")).subscribers, 2)
      for (const name of ["nope", "", "a b"]) {
        assert.deepInclude(yield* Effect.flip(Stream.runCollect(client.subscribers(name))), {
          _tag: "ChannelNotFoundError",
          channel: name
        })
      }
    })))

  it.live("gives the data of a subscriber as the browser sent them", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const joe = yield* Browser.connect(urls.websocket)
      const data = `{"__proto__":{"x":1},"constructor":{"__proto__":null},"toJSON":1,"":[{"__proto__":{}}]}`
      yield* joe.send(`{"subscribe":{"channel":"room","data":${data}}}`)
      yield* joe.nextOf(":subscribed")
      const [subscriber] = yield* Stream.runCollect(client.subscribers("room"))
      assert.strictEqual(JSON.stringify(subscriber!.data), data)
    })))

  it.live("revokes a user's unused tokens when it disconnects the user, if that is wanted", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const issue = (uid: string) =>
        Effect.map(client.requestSingleAccessToken({ uid, channels: [] }), (issued) => ({
          auth: { token: Redacted.value(issued) }
        }))
      const [used, kept, revoked, other] = [
        yield* issue("joe"),
        yield* issue("joe"),
        yield* issue("joe"),
        yield* issue("ann")
      ]
      const [joe, later] = [yield* Browser.connect(urls.websocket), yield* Browser.connect(urls.websocket)]
      yield* joe.send(used)
      yield* joe.nextOf(":authenticated")
      yield* client.disconnect({ uid: "joe" })
      assert.strictEqual(yield* joe.closed, 4403)
      yield* later.send(kept)
      yield* later.nextOf(":authenticated")
      assert.strictEqual(yield* client.disconnect({ uid: "joe", revokeTokens: true }), 1)
      assert.strictEqual(yield* later.closed, 4403)
      const stranger = yield* Browser.connect(urls.websocket)
      yield* stranger.send(revoked)
      assert.deepStrictEqual(yield* stranger.nextOf(":error"), { code: 402, status: "Unauthorized" })
      yield* stranger.send(other)
      yield* stranger.nextOf(":authenticated")
      assert.strictEqual(yield* client.disconnect({ uid: "joe", revokeTokens: true }), 0)
    })))

  it.live("disconnects one browser, or all of a user's", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const [ann, joe, again] = [
        yield* subscribed("room"),
        yield* subscribed("presence-room"),
        yield* subscribed("private-room")
      ]
      assert.strictEqual(yield* client.disconnect({ sid: "nobody" }), 0)
      assert.strictEqual(yield* client.disconnect({ uid: ann.sid }), 0)
      assert.strictEqual(yield* client.disconnect({ sid: ann.sid }), 1)
      assert.strictEqual(yield* ann.closed, 4403)
      assert.strictEqual(yield* client.disconnect({ uid: "joe" }), 2)
      assert.deepStrictEqual([yield* joe.closed, yield* again.closed], [4403, 4403])
      yield* eventually(client.disconnect({ uid: "joe" }), (count) => count === 0)
    })))
})

describe("Client", () => {
  it.effect.each<[string, ReadonlyArray<string>]>([
    ["nothing", ["OK"]],
    ["no JSON", ["OK", "{"]],
    ["null", ["OK", "null"]],
    ["a list", ["OK", "[]"]],
    ["another answer", ["OK", `{"later":1}`]],
    ["values of other kinds", [
      "OK",
      `{"channels":[7],"subscribers":[{"sid":7,"data":{}}],"deadLetters":[{"id":"a-1"}],"next":"x","name":7,"disconnected":"1","replayed":1}`
    ]],
    ["an unknown command", ["XX"]],
    ["a heartbeat", ["HB"]]
  ])("fails with MessageDecodeError if a query is answered with %s", ([_, answer]) =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => answer)
      for (const [what, ask] of additions) {
        // To these `OK` without data is a response.
        if (what === "sendTo" || what.startsWith("broadcast") || what.endsWith(" one")) continue
        assert.strictEqual(tagOf(yield* Effect.flip(ask(client))), "ProtocolError/MessageDecodeError", what)
      }
    }))

  it.effect("reads responses with more fields than it knows", () =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(([command]) => [
        "OK",
        command === "LS"
          ? `{"subscribers":[{"sid":"s","uid":"joe","data":{},"since":1}],"next":null,"total":1}`
          : `{"name":"room","subscribers":2,"since":1}`
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("room")), [
        { sid: "s", uid: "joe", info: undefined, data: {}, isAway: false }
      ])
      assert.deepStrictEqual(yield* client.channel("room"), { name: "room", kind: "normal", subscribers: 2 })
    }))

  it.effect("requests a list part by part, and stops if the cursor does not advance", () =>
    Effect.gen(function*() {
      // The cursor that each part names as the next, by the cursor of the request.
      const next: Record<string, number | null> = { 0: 5, 5: 9, 9: 9 }
      const { asked, client } = yield* answeredBy(([_, name, after]) => [
        "OK",
        JSON.stringify({ channels: [{ name: `${name}${after}`, subscribers: 0 }], subscribers: [], next: next[after!] })
      ])
      const names = (yield* Stream.runCollect(client.channels({ prefix: "pre" }))).map(({ name }) => name)
      assert.deepStrictEqual(names, ["pre0", "pre5", "pre9"])
      assert.deepStrictEqual(asked, [["LC", "pre", "0"], ["LC", "pre", "5"], ["LC", "pre", "9"]])
      next[9] = 3
      yield* Stream.runCollect(client.subscribers("room"))
      assert.deepStrictEqual(asked.slice(3), [["LS", "room", "0"], ["LS", "room", "5"], ["LS", "room", "9"]])
    }))
})
