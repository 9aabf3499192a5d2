/**
 * The script as a browser loads it, both of its formats, against a real broker.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted } from "effect"
import * as esbuild from "esbuild"
import { runInThisContext } from "node:vm"
import type * as Script from "../../src/browser/script.ts"
import { Client } from "../../src/index.ts"
import { decodeOrigin } from "../../src/protocol/Trigger.ts"
import { backend, TestBroker } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"

const build = (format: "esm" | "iife") =>
  esbuild.buildSync({
    entryPoints: ["src/browser/script.ts"],
    bundle: true,
    minify: true,
    write: false,
    format,
    globalName: "Kosmonaut"
  }).outputFiles[0]!.text

const load: Record<string, () => Promise<typeof Script>> = {
  esm: () => import(/* @vite-ignore */ `data:text/javascript;base64,${Buffer.from(build("esm")).toString("base64")}`),
  iife: async () => runInThisContext(`(() => { ${build("iife")}; return Kosmonaut })()`)
}

/** The first value that a listener is given and that is wanted. */
const first = <A>(on: (handler: (value: A) => void) => unknown, isWanted: (value: A) => boolean = () => true) =>
  Effect.promise(() => new Promise<A>((resolve) => void on((value) => isWanted(value) && resolve(value))))

const connected = Effect.fnUntraced(function*(options?: Script.Options, format = "esm") {
  const { connect } = yield* Effect.promise(load[format]!)
  const { urls } = yield* TestBroker
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => connect(urls.websocket, options)),
    (connection) => Effect.sync(connection.close)
  )
  return connection
})

const withClient = Layer.fresh(backend("backend"))

describe("script", () => {
  it.live("cancels by a signal", () =>
    Effect.gen(function*() {
      const { connect } = yield* Effect.promise(load.esm!)
      // Nobody listens there: the call waits.
      const connection = connect("ws://127.0.0.1:1/test", { token: () => "token" })
      const controller = new AbortController()
      const call = connection.request("chat/say", {}, { signal: controller.signal }).catch(({ _tag }) => _tag)
      controller.abort()
      expect(yield* Effect.promise(() => call)).toBe("CancelledError")
      connection.close()
    }))

  it.live("has events queued once by a key, in the trace of a span", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const token = () => Effect.runPromise(Effect.map(vhost.accessTokens.issue("joe", ".*"), Redacted.value))
      const connection = yield* connected({ token })
      const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`
      const trigger = (dedupeKey?: string) =>
        Effect.promise(() => connection.trigger("chat/save", {}, { dedupeKey, traceparent }))
      for (const key of ["a", "a", "b", undefined]) yield* trigger(key)
      expect((yield* vhost.lobby.info).queued).toBe(3)
      const spans: Array<string | undefined> = []
      yield* vhost.lobby.register({
        id: "worker",
        connection: {},
        lifecycle: false,
        prefetch: 10,
        maxAttempts: 1,
        deliverUnsafe: (_json, origin) => void spans.push(decodeOrigin(origin ?? "").traceparent),
        heartbeatUnsafe: () => {},
        dismiss: Effect.void
      })
      expect(spans).toEqual([traceparent, traceparent, traceparent])
    }).pipe(withBroker()))

  it.live("has the inbox of its user", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const token = () => Effect.runPromise(Effect.map(vhost.accessTokens.issue("joe", ".*"), Redacted.value))
      const connection = yield* connected({ token })
      const inbox = connection.inbox()
      const news = yield* Effect.forkChild(first((handler) => inbox.on("news", (data) => handler(data))))
      yield* first(inbox.onState, ({ _tag }) => _tag === "Subscribed")
      const client = yield* Client.Client
      expect(yield* client.sendToUser("joe", "news", { n: 1 })).toBe(1)
      expect(yield* Fiber.join(news)).toEqual({ n: 1 })
      inbox.unsubscribe()
    }).pipe(Effect.provide(withClient), withBroker()))

  it.live.each(["esm", "iife"])("connects, subscribes and receives, as %s", (format) =>
    Effect.gen(function*() {
      const connection = yield* connected({}, format)
      const room = connection.subscribe("room")
      yield* first(room.onState, ({ _tag }) => _tag === "Subscribed")
      expect(connection.state).toMatchObject({ _tag: "Connected", version: 1 })
      const said = yield* Effect.forkChild(first<object>((handler) => room.on("said", handler)), {
        startImmediately: true
      })
      yield* Effect.promise(() => room.broadcast("said", { text: "hello" }))
      expect(yield* Fiber.join(said)).toMatchObject({ text: "hello", channel: "room" })
      room.unsubscribe()
      expect(room.state).toEqual({ _tag: "Unsubscribed" })
      connection.close()
      expect(connection.state).toMatchObject({ _tag: "Closed", code: 1000 })
    }).pipe(withBroker()))

  it.live("authenticates, knows the members, and has its triggers confirmed", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const token = () => Effect.runPromise(Effect.map(client.requestSingleAccessToken("joe", ".*"), Redacted.value))
      const connection = yield* connected({ token })
      const room = connection.subscribe("presence-room", { data: { name: "Joe" } })
      yield* first(room.onMembers, (members) => members.length === 1)
      expect(room.members).toMatchObject([{ uid: "joe", connections: [{}], data: { name: "Joe" } }])
      expect(room.members).toBe(room.members)
      expect(yield* Effect.promise(() => room.update({ name: "Joseph" }))).toBe(null)
      expect(room.members).toMatchObject([{ uid: "joe", connections: [{}], data: { name: "Joseph" } }])
      expect(room.state).toEqual({ _tag: "Subscribed", uid: "joe" })
      expect(yield* Effect.promise(() => connection.trigger("chat/say", { text: "hello" }))).toBe(null)
    }).pipe(Effect.provide(withClient), withBroker()))

  it.live("rejects with a tag", () =>
    Effect.gen(function*() {
      const connection = yield* connected()
      const failure = (promise: Promise<unknown>) =>
        Effect.promise(() => promise.then(() => undefined, (error: Script.CallError) => error))
      expect(yield* failure(connection.trigger("chat/say", {}))).toMatchObject({ _tag: "UnauthorizedError" })
      expect(yield* failure(connection.subscribe("lobby").broadcast("said", {}))).toMatchObject({
        _tag: "ChannelNotFoundError",
        code: 454
      })
      connection.close()
      expect(yield* failure(connection.trigger("chat/say", {}))).toMatchObject({
        _tag: "ConnectionClosedError",
        code: 1000
      })
      expect(yield* failure(connection.trigger("chat/say", { n: 1n }))).toBeInstanceOf(TypeError)
    }).pipe(withBroker()))
})
