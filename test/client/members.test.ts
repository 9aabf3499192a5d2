/**
 * Who is on a presence channel, as a backend sees it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Client } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "../harness/eventually.ts"
import { subscribedAs, within } from "../harness/members.ts"

const sidsOf = (subscribers: ReadonlyArray<Client.MemberConnection>) => subscribers.map(({ sid }) => sid)

describe("members of a Client", () => {
  it.effect("are users, each with all connections and what they say", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const joe = yield* subscribedAs("joe", { info: { role: "host" }, data: { n: 1 } })
      const ann = yield* subscribedAs("ann", {})
      const other = yield* subscribedAs("joe", { info: { role: "guest" }, data: { n: 2 } })
      const connections = [
        { sid: joe.sid, info: { role: "host" }, data: { n: 1 }, isAway: false },
        { sid: other.sid, info: { role: "guest" }, data: { n: 2 }, isAway: false }
      ]
      const members = yield* client.members("presence-room")
      assert.deepStrictEqual(members, [
        { uid: "joe", info: { role: "guest" }, data: { n: 2 }, connections },
        {
          uid: "ann",
          info: undefined,
          data: {},
          connections: [{ sid: ann.sid, info: undefined, data: {}, isAway: false }]
        }
      ])
      const subscribers = yield* Stream.runCollect(client.subscribers("presence-room"))
      assert.deepStrictEqual(sidsOf(subscribers), [joe.sid, ann.sid, other.sid])
      assert.deepStrictEqual(yield* client.members("room"), [])
      assert.strictEqual((yield* Effect.flip(client.members("nope")))._tag, "ChannelNotFoundError")
    }).pipe(within()))

  it.effect("are there while they may come back, and away", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const { browserNetwork } = yield* TestBroker.TestBroker
      const joe = yield* subscribedAs("joe", {})
      yield* browserNetwork.cut
      const away = eventually(client.members("presence-room"), ([member]) => member?.connections[0]?.isAway === true)
      assert.deepStrictEqual(sidsOf((yield* away)[0]!.connections), [joe.sid])
      assert.strictEqual((yield* client.channel("presence-room")).subscribers, 0)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* client.members("presence-room"), [])
    }).pipe(within()))
})
