/** Who is told what when browsers subscribe, unsubscribe and leave. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { ForbiddenError, NotSubscribedError } from "../../../../src/protocol/KosmonautError.ts"
import { ann, browsers, joe, join, make, makeWith, permit } from "../../../harness/channels.ts"

describe("Channels", () => {
  describe("subscribing", () => {
    it.effect("sends a message only to the browser on a normal channel, without a uid", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        yield* channels.subscribe("room", b, { permission: joe, hidden: false, data: { name: "Joe" } })
        expect(b.received()).toEqual([{ ":subscribed": { channel: "room" } }])
        expect(a.received()).toEqual([])
        yield* channels.unsubscribe("room", b, {})
        expect(b.received()).toEqual([{ ":unsubscribed": { channel: "room" } }])
        expect(a.received()).toEqual([])
      }))

    it.effect("adds the uid on a private channel, and sends nothing to other subscribers", () =>
      Effect.gen(function*() {
        const channels = yield* make("private-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "private-a", a, joe)
        yield* channels.subscribe("private-a", b, { permission: ann, hidden: false, data: { name: "Ann" } })
        expect(b.received()).toEqual([{ ":subscribed": { channel: "private-a", uid: "ann" } }])
        yield* channels.leave(b)
        expect(a.received()).toEqual([])
      }))

    it.effect("lists the earlier members, and announces the new one to all, itself too", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* channels.subscribe("presence-a", a, { permission: joe, hidden: false, data: { name: "Joe" } })
        expect(a.received()).toEqual([
          { ":subscribed": { channel: "presence-a", uid: "joe", subscribers: [] } },
          { ":memberJoined": { channel: "presence-a", uid: "joe", name: "Joe" } }
        ])
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: { name: "Ann" } })
        const joined = { ":memberJoined": { channel: "presence-a", uid: "ann", name: "Ann" } }
        const listed = { channel: "presence-a", uid: "joe", name: "Joe" }
        expect(b.received()).toEqual([
          { ":subscribed": { channel: "presence-a", uid: "ann", subscribers: [listed] } },
          joined
        ])
        expect(a.received()).toEqual([joined])
      }))

    it.effect("never announces or lists a hidden subscriber, which receives everything", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b, hidden] = browsers("a", "b", "hidden")
        yield* join(channels, "presence-a", a, joe)
        yield* channels.subscribe("presence-a", hidden, { permission: permit("spy"), hidden: true, data: { s: 1 } })
        expect(hidden.received()).toEqual([{
          ":subscribed": {
            channel: "presence-a",
            uid: "spy",
            subscribers: [{ channel: "presence-a", uid: "joe" }]
          }
        }])
        expect(a.received()).toEqual([])

        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: {} })
        expect(b.received()[0]).toMatchObject({ ":subscribed": { subscribers: [{ uid: "joe" }] } })
        expect(hidden.received()).toEqual([{ ":memberJoined": { channel: "presence-a", uid: "ann" } }])

        yield* channels.broadcast("presence-a", "hello", {}, { from: a })
        yield* channels.unsubscribe("presence-a", a, {})
        expect(hidden.received()).toEqual([
          { hello: { channel: "presence-a", sid: "a" } },
          { ":memberLeft": { channel: "presence-a", uid: "joe" } }
        ])
        b.received()

        yield* channels.unsubscribe("presence-a", hidden, { bye: true })
        expect(hidden.received()).toEqual([{ ":unsubscribed": { channel: "presence-a" } }])
        expect(b.received()).toEqual([])
      }))

    it.effect("changes nothing the second time, and keeps the data of the first", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe, { data: { n: 1 } })
        yield* channels.subscribe("presence-a", a, { permission: ann, hidden: true, data: { n: 2 } })
        expect(a.received()).toEqual([])
        expect(yield* channels.list).toMatchObject([{ subscribers: 1 }])
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: {} })
        expect(b.received()[0]).toMatchObject({ ":subscribed": { subscribers: [{ uid: "joe", n: 1 }] } })
        a.received()
        yield* channels.broadcast("presence-a", "hello", {})
        expect(a.received()).toEqual([{ hello: { channel: "presence-a" } }])
      }))

    it.effect("lists one user on two browsers twice", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b, c] = browsers("a", "b", "c")
        yield* join(channels, "presence-a", a, joe)
        yield* join(channels, "presence-a", b, joe)
        yield* channels.subscribe("presence-a", c, { permission: joe, hidden: false, data: {} })
        const member = { channel: "presence-a", uid: "joe" }
        expect(c.received()[0]).toMatchObject({ ":subscribed": { subscribers: [member, member] } })
      }))

    it.effect("is forbidden on private and presence channels without a permission that matches", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "private-a", "presence-a")
        const [a] = browsers("a")
        for (const name of ["private-a", "presence-a"]) {
          for (const permission of [undefined, permit("joe", "private|presence|-a|.*-b"), permit("joe", "")]) {
            const failure = yield* Effect.flip(
              channels.subscribe(name, a, { permission, hidden: true, data: {} })
            )
            expect(failure).toBeInstanceOf(ForbiddenError)
            expect(failure.code).toBe(403)
          }
        }
        // A normal channel needs none, and minds none that does not match.
        yield* channels.subscribe("room", a, { permission: permit("joe", "other"), hidden: false, data: {} })
        expect(a.received()).toEqual([{ ":subscribed": { channel: "room" } }])
        expect((yield* channels.list).map(({ subscribers }) => subscribers)).toEqual([1, 0, 0])
      }))

    it.effect("accepts at most memberDataSize bytes of data on channels of every kind", () =>
      Effect.gen(function*() {
        const channels = makeWith({ maxChannels: 10, memberDataSize: 20 })
        yield* Effect.forEach(["room", "private-a", "presence-a"], channels.open)
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe)
        // {"n":"żżżżżż"} has 14 characters and 20 bytes.
        const [fits, doesNot] = [{ n: "żżżżżż" }, { n: "żżżżżżx" }]
        for (const hidden of [false, true]) {
          const failure = yield* Effect.flip(
            channels.subscribe("presence-a", b, { permission: ann, hidden, data: doesNot })
          )
          expect(failure).toMatchObject({ _tag: "BadRequestError", code: 400 })
        }
        expect([a.received(), b.received(), yield* channels.has("presence-a", b)]).toEqual([[], [], false])
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: fits })
        expect(a.received()).toEqual([{ ":memberJoined": { ...fits, channel: "presence-a", uid: "ann" } }])
        // Elsewhere a backend can ask for them.
        for (const name of ["room", "private-a"]) {
          const failure = yield* Effect.flip(join(channels, name, b, ann, { data: doesNot }))
          expect(failure).toMatchObject({ _tag: "BadRequestError", code: 400 })
          expect(yield* channels.has(name, b)).toBe(false)
          yield* join(channels, name, b, ann, { data: fits })
        }
      }))

    it.effect("does not let data replace the system's keys", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        const forged = { uid: "root", channel: "other", sid: "forged", subscribers: "forged" }
        yield* join(channels, "presence-a", a, joe)
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: forged })
        const told = { uid: "ann", channel: "presence-a", sid: "forged", subscribers: "forged" }
        expect(a.received()).toEqual([{ ":memberJoined": told }])
        yield* channels.broadcast("presence-a", "hello", forged, { from: b })
        expect(a.received()).toEqual([{ hello: { ...forged, channel: "presence-a", sid: "b" } }])
        yield* channels.unsubscribe("presence-a", b, { uid: "nobody", channel: "x" })
        expect(a.received()).toEqual([{ ":memberLeft": told }])
      }))
  })

  describe("leaving", () => {
    it.effect("merges the data of unsubscribe into those of subscribe", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe)
        yield* join(channels, "presence-a", b, ann, { data: { name: "Ann", mood: "good" } })
        a.received()
        yield* channels.unsubscribe("presence-a", b, { mood: "bad", bye: true })
        expect(b.received()).toEqual([{ ":unsubscribed": { channel: "presence-a" } }])
        expect(a.received()).toEqual([
          { ":memberLeft": { channel: "presence-a", uid: "ann", name: "Ann", mood: "bad", bye: true } }
        ])
      }))

    it.effect("fails for a browser that is not subscribed", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        yield* join(channels, "presence-a", b, joe)
        const failure = yield* Effect.flip(channels.unsubscribe("presence-a", a, {}))
        expect(failure).toBeInstanceOf(NotSubscribedError)
        expect(failure.code).toBe(453)
        yield* channels.unsubscribe("room", a, {})
        expect(yield* Effect.flip(channels.unsubscribe("room", a, {}))).toBeInstanceOf(NotSubscribedError)
        expect(b.received()).toEqual([])
      }))

    it.effect("leaves all channels without a message to the browser, and announces it to the others", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "private-a", "presence-a", "presence-b")
        const [a, b] = browsers("a", "b")
        for (const name of ["room", "private-a", "presence-a", "presence-b"]) {
          yield* join(channels, name, a, joe)
          yield* join(channels, name, b, ann, { data: { name: "Ann" } })
        }
        a.received()
        b.received()
        yield* channels.leave(b)
        expect(b.received()).toEqual([])
        expect(a.received()).toEqual([
          { ":memberLeft": { channel: "presence-a", uid: "ann", name: "Ann" } },
          { ":memberLeft": { channel: "presence-b", uid: "ann", name: "Ann" } }
        ])
        expect((yield* channels.list).map(({ subscribers }) => subscribers)).toEqual([1, 1, 1, 1])
        yield* channels.leave(b)
        expect(a.received()).toEqual([])
      }))
  })
})
