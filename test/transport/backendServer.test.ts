/**
 * The server of backends' connections, with bare sockets: what strangers cost, and what happens to connections.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Scope } from "effect"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { readdirSync } from "node:fs"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Frames } from "../../src/protocol/Frame.ts"
import * as Zmtp from "../../src/transport/internal/zmtp.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import type { Handlers, Listen, Peer } from "../../src/transport/TransportServer.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import * as BrokerSide from "../harness/brokerSide.ts"
import { eventually, turn } from "../harness/eventually.ts"
import { identity } from "../harness/identity.ts"
import { logged } from "../harness/logged.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as RawZmq from "../harness/RawZmq.ts"
import * as RawZmtp from "../harness/RawZmtp.ts"
import { token } from "../harness/TestBroker.ts"

type Options = Omit<Parameters<Listen>[0], "host" | "port" | "maxMessageSize"> & { readonly maxMessageSize?: number }

/** A server that knows good tokens, answers OK and what it was asked, and tells what it has seen. */
const serve = Effect.fnUntraced(function*(options: Options & Partial<Handlers> & { readonly listen?: Listen } = {}) {
  const peers = yield* Queue.unbounded<Peer>()
  const closed: Array<string> = []
  const { authorize, listen = ZmqTransportServer.listen, onMessage, ...rest } = options
  const server = yield* listen({ host: "127.0.0.1", port: 0, maxMessageSize: 10_000, ...rest })
  yield* server.run({
    authorize: authorize ?? (({ identity }) => Effect.succeed(identity.includes(token) ? undefined : ["ER", "402"])),
    onMessage: onMessage ?? ((peer, frames) => {
      Queue.offerUnsafe(peers, peer)
      peer.sendUnsafe(["OK", ...frames ?? ["unreadable"]])
      return undefined
    }),
    onClose: (peer) => Effect.sync(() => closed.push(peer.identity))
  }).pipe(Effect.forkScoped)
  return { port: server.port, peers, closed }
})

const wrong = identity("req", { token: "0".repeat(40) })

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

/** How many bytes buffers hold. */
const held = (): number => {
  collectGarbage()
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

const descriptors = (): number => readdirSync("/proc/self/fd").length

describe.each([
  ["ZeroMQ", ZmqTransportServer.listen],
  ["classic TCP", TcpTransportServer.listen]
])("the port for backends over %s", (_, listen) => {
  it.live("speaks both", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ listen })
      const classic = yield* RawTcp.connect(port)
      yield* classic.send(RawTcp.message(identity("req"), "", "OC", "room"))
      assert.strictEqual(yield* classic.next, RawTcp.message("OK", "OC", "room"))
      const ask = yield* RawZmq.req(port, identity("req"))
      assert.deepStrictEqual(yield* ask("OC", "room"), ["OK", "OC", "room"])
    }))
})

describe("sockets of libzmq", () => {
  it.live("carry large messages and many frames both ways, in order", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ maxMessageSize: 4_000_000, outboxSize: 100_000_000 })
      const dealer = yield* RawZmq.dealer(port, identity("req"))
      const sent: Array<Frames> = []
      for (const size of [0, 1, 255, 256, 65_535, 65_536, 1_000_000, 3_000_000]) sent.push(["id", "", "x".repeat(size)])
      sent.push(["id", "", ...Array.from({ length: 60 }, (_, index) => "żó".repeat(index * 20))])
      for (let n = 0; n < 1000; n++) sent.push(["id", "", String(n)])
      yield* Effect.forkChild(Effect.forEach(sent, (frames) => dealer.send(...frames)))
      for (const [id, , ...frames] of sent) {
        const got = yield* dealer.next
        assert.isTrue(JSON.stringify(got) === JSON.stringify([id, "", "OK", ...frames]))
      }
    }))

  it.live("go on with the same identity after the server was away", () =>
    Effect.gen(function*() {
      const who = identity("req")
      const { port } = yield* Effect.scoped(serve())
      const ask = yield* RawZmq.req(port, who)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* serve({ listen: (options) => ZmqTransportServer.listen({ ...options, port }) })
        assert.deepStrictEqual(yield* ask("OC", "a"), ["OK", "OC", "a"])
      }))
      yield* serve({ listen: (options) => ZmqTransportServer.listen({ ...options, port }) })
      assert.deepStrictEqual(yield* ask("OC", "b"), ["OK", "OC", "b"])
    }))
})

describe("a connection by hand", () => {
  it.live("is answered PONG", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const self = yield* RawZmtp.connect(port, identity("dlr"))
      assert.deepStrictEqual(yield* self.nextPart, [])
      assert.deepStrictEqual(yield* self.nextPart, ["<READY>"])
      yield* self.send(Zmtp.encodeCommand("PING", Buffer.from([0, 1, 65, 66])))
      assert.deepStrictEqual(yield* self.nextPart, ["<PONG>"])
    }))

  it.live.each<[string, Buffer]>([
    ["an older ZeroMQ", Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 5])],
    ["encryption", Buffer.from(Zmtp.greeting).fill("CURVE\0", 12, 18)],
    [
      "another kind of socket",
      Buffer.concat([
        Zmtp.greeting,
        Zmtp.encodeCommand("READY", Zmtp.encodeProperties({ "Socket-Type": "SUB" }))
      ])
    ],
    ["a message before the handshake", Buffer.concat([Zmtp.greeting, Buffer.from([0, 1, 65])])],
    ["junk after the greeting", Buffer.concat([Zmtp.greeting, Buffer.alloc(100, 0x99)])]
  ])("is closed for %s, with one line in the log for all", ([_, bytes]) =>
    Effect.gen(function*() {
      const { layer, lines } = logged("Warn")
      yield* Effect.gen(function*() {
        const { port } = yield* serve()
        for (let n = 0; n < 20; n++) {
          const stranger = yield* RawTcp.connect(port)
          yield* stranger.send(bytes)
          yield* stranger.ended
        }
      }).pipe(Effect.provide(layer))
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0], "WARN A connection was closed that is not a backend's over ZeroMQ")
    }))
})

describe("a stranger", () => {
  it.effect("has five seconds to show a token, whatever it says in them", () =>
    Effect.gen(function*() {
      const { open } = yield* BrokerSide.watch
      const { port } = yield* serve()
      const silent = yield* RawTcp.connect(port)
      const greets = yield* RawTcp.connect(port)
      yield* greets.send(Zmtp.greeting)
      const refused = yield* RawZmtp.connect(port, wrong)
      const nobody = yield* RawZmtp.connect(port, "")
      const worker = yield* RawZmtp.connect(port, identity("dlr"))
      const client = yield* RawZmtp.connect(port, identity("req"))
      for (const self of [refused, nobody]) {
        yield* self.nextPart
        assert.deepStrictEqual(yield* self.nextPart, ["<READY>"])
        yield* self.message("id", "", "OC", "x".repeat(5000))
        assert.deepStrictEqual(yield* self.nextPart, ["id", "", "ER", "402"])
      }
      yield* client.nextPart
      yield* client.nextPart
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(open(port), 6)
      yield* TestClock.adjust("1 millis")
      // A Client's socket is connected before it is used.
      for (const self of [silent, greets, refused, nobody, worker]) yield* self.ended
      yield* client.message("", "OC")
      assert.deepStrictEqual(yield* client.nextPart, ["", "OK", "OC"])
      assert.strictEqual(open(port), 1)
    }))

  it.live("keeps nothing of what it sends, and is answered at most as much as it reads", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ maxMessageSize: 50_000_000 })
      const before = held()
      const strangers = yield* Effect.replicateEffect(RawZmtp.connect(port, wrong), 8)
      const megabyte = randomBytes(1_048_576)
      for (const self of strangers) {
        // A message of 100 MB, and no end of it.
        yield* self.send(Buffer.from([2, 0, 0, 0, 0, 6, 0, 0, 0]))
        for (let n = 0; n < 8; n++) yield* self.send(megabyte)
      }
      assert.isBelow(held() - before, 4_000_000)
      const deaf = yield* RawZmtp.connect(port, wrong)
      yield* turn
      deaf.socket.pause()
      const many = Buffer.concat(Array.from({ length: 10_000 }, () => Buffer.from([1, 2, 65, 66, 1, 0, 0, 1, 65])))
      for (let n = 0; n < 500 && deaf.socket.writable; n++) deaf.socket.write(many)
      deaf.socket.resume()
      yield* deaf.ended
    }))

  it.live("does not keep anybody out: the one that has waited longest makes room", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged("Warn")
      yield* Effect.gen(function*() {
        const { port } = yield* serve({ maxConnections: 4 })
        const strangers = yield* Effect.replicateEffect(RawTcp.connect(port), 4)
        const ask = yield* RawZmq.req(port, identity("req"))
        assert.deepStrictEqual(yield* ask("OC"), ["OK", "OC"])
        yield* strangers[0]!.ended
        assert.isFalse(yield* strangers[3]!.hasEnded)
        for (let n = 0; n < 3; n++) {
          assert.deepStrictEqual(yield* (yield* RawZmq.req(port, identity("req")))("OC"), ["OK", "OC"])
        }
        // All are known now: one more is closed at once.
        yield* (yield* RawTcp.connect(port)).ended
        assert.deepStrictEqual(yield* ask("OC"), ["OK", "OC"])
      }).pipe(Effect.provide(layer))
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0], "4 connections")
    }))

  it.effect("fills no log: its warnings are counted", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged("Warn")
      // From now on the test's clock does not warn that it stands.
      yield* TestClock.adjust(0)
      yield* Effect.gen(function*() {
        const { port } = yield* serve()
        for (let n = 0; n < 50; n++) {
          const stranger = yield* RawTcp.connect(port)
          yield* stranger.send(RawTcp.message("x", "K1"))
          assert.strictEqual(yield* stranger.rest, RawTcp.message("ER", "402"))
        }
        yield* TestClock.adjust("10 seconds")
        yield* TestClock.adjust("10 seconds")
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(lines, [
        "WARN A backend without a valid access token was rejected",
        "WARN A backend without a valid access token was rejected (49 times in the last 10 seconds)"
      ])
    }))
})

describe("a connection that is kept", () => {
  it.live("is authorized first, then offered, and bears an empty message", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const client = yield* RawTcp.connect(port)
      yield* client.send(RawTcp.message(identity("req"), "K1"))
      assert.strictEqual(yield* client.next, RawTcp.message("K1"))
      yield* client.send("\r\n\r\n")
      yield* client.send("\n\r\n\r\n")
      assert.strictEqual(yield* client.next, RawTcp.message("", "OK", "unreadable"))
    }))

  it.effect("is timed while its message is read, and not while it is handled", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const { port } = yield* serve({
        onMessage: (peer) =>
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Deferred.await(gate)),
            Effect.andThen(Effect.suspend(() => {
              peer.sendUnsafe(["OK"])
              return peer.close
            }))
          )
      })
      const client = yield* RawTcp.connect(port)
      yield* client.send(RawTcp.message(identity("req"), "", "BA", "[]"))
      yield* Deferred.await(begun)
      yield* TestClock.adjust("7 seconds")
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(yield* client.rest, RawTcp.message("OK", ""))
    }))

  it.live("is not read while one of its messages waits", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const heard: Array<string> = []
      const { of } = yield* BrokerSide.watch
      const { port } = yield* serve({
        maxMessageSize: 1_048_576,
        onMessage: (_, frames) => {
          heard.push(frames![0]!)
          return heard.length === 2 ? Deferred.await(gate) : undefined
        }
      })
      const client = yield* RawZmtp.connect(port, identity("req"))
      const socket = of(client.socket)
      yield* client.message("", "first")
      yield* eventually(Effect.sync(() => heard.length === 1 && !socket.isPaused()), (isRead) => isRead)
      yield* client.message("", "second")
      yield* eventually(Effect.sync(() => heard.length), (length) => length === 2)
      const flood = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 64 }), () => client.message("", "more", "x".repeat(1_000_000)))
      )
      yield* eventually(Effect.sync(() => socket.isPaused()), (isPaused) => isPaused)
      yield* Effect.replicateEffect(turn, 50)
      assert.isBelow(socket.bytesRead, 1_000_000)
      assert.strictEqual(heard.length, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(flood)
      yield* eventually(Effect.sync(() => heard.length), (length) => length === 66)
    }))

  it.live("takes no more than its outbox has room for, and tells so", () =>
    Effect.gen(function*() {
      const { peers, port } = yield* serve({ outboxSize: 1_000_000 })
      const self = yield* RawZmtp.connect(port, identity("dlr"))
      yield* self.message("", "RD")
      const peer = yield* Queue.take(peers)
      // Short messages cost more than their text.
      let short = 0
      while (short < 100_000 && peer.sendUnsafe(["HB"])) short++
      assert.isBelow(short, 5000)
      yield* eventually(Effect.sync(() => peer.sendUnsafe(["HB"])), (sent) => sent)
      self.socket.pause()
      const settled: Array<boolean> = []
      let isFull = false
      for (let n = 0; n < 1000 && !isFull; n++) {
        isFull = !peer.sendUnsafe(["TR", "x".repeat(50_000)], (delivered) => settled.push(delivered))
        yield* turn
      }
      assert.isTrue(isFull)
      assert.isFalse(settled.at(-1))
      self.socket.resume()
      yield* eventually(Effect.sync(() => peer.sendUnsafe(["HB"])), (sent) => sent)
    }))
})

describe("a peer that sends no more", () => {
  it.live("has all handled that it has sent, though each message takes a turn", () =>
    Effect.gen(function*() {
      const { of } = yield* BrokerSide.watch
      const mayGoOn = yield* Deferred.make<void>()
      const handled: Array<string | undefined> = []
      const { closed, port } = yield* serve({
        listen: TcpTransportServer.listen,
        onMessage: (_, frames) =>
          Effect.andThen(
            handled.length === 0 ? Deferred.await(mayGoOn) : turn,
            Effect.sync(() => handled.push(frames?.[0]))
          )
      })
      const peer = yield* RawTcp.connect(port)
      yield* peer.send(RawTcp.message(identity("dlr"), "", "RD"))
      const own = of(peer.socket)
      yield* eventually(Effect.sync(() => own.isPaused()), (isPaused) => isPaused)
      // Both the messages and the end are there when it reads again.
      peer.socket.end(["HB", "AK", "QT"].map((command) => RawTcp.message(command)).join(""))
      const ended = Effect.sync(() =>
        (own as unknown as { readonly _readableState: { readonly ended: boolean } })._readableState
      )
      yield* eventually(ended, ({ ended }) => ended)
      yield* Deferred.succeed(mayGoOn, undefined)
      yield* eventually(Effect.sync(() => closed.length), (count) => count === 1)
      assert.deepStrictEqual(handled, ["RD", "HB", "AK", "QT"])
    }))

  it.live("has left, although it does not read what was sent to it", () =>
    Effect.gen(function*() {
      const { closed, peers, port } = yield* serve()
      const who = identity("dlr")
      const self = yield* RawZmtp.connect(port, who)
      yield* self.message("", "RD")
      const peer = yield* Queue.take(peers)
      self.socket.pause()
      while (peer.sendUnsafe(["TR", "x".repeat(1_000_000)]));
      self.socket.end()
      yield* eventually(Effect.sync(() => closed), ([one]) => one === who)
    }))
})

describe("an identity that comes again", () => {
  it.live("over ZeroMQ takes over, and the earlier connection ends", () =>
    Effect.gen(function*() {
      const { closed, port } = yield* serve()
      const who = identity("dlr")
      const earlier = yield* RawZmtp.connect(port, who)
      yield* earlier.message("", "RD")
      const later = yield* RawZmtp.connect(port, who)
      yield* earlier.ended
      yield* later.message("", "RD")
      for (const expected of [[], ["<READY>"], ["", "OK", "RD"]]) {
        assert.deepStrictEqual(yield* later.nextPart, expected)
      }
      assert.deepStrictEqual(closed, [who])
    }))

  it.live("leaks no descriptors", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const { open } = yield* BrokerSide.watch
      const who = identity("dlr")
      const before = descriptors()
      for (let round = 0; round < 20; round++) {
        yield* Effect.scoped(Effect.gen(function*() {
          const connections = yield* Effect.replicateEffect(RawZmtp.connect(port, who), 4)
          const last = connections[3]!
          yield* last.message("", "RD")
          yield* last.nextPart
        }))
      }
      yield* eventually(Effect.sync(() => open(port)), (count) => count === 0)
      yield* eventually(Effect.sync(descriptors), (count) => count <= before)
    }))
})

describe("the end of a server", () => {
  it.live("comes in time, whatever its peers do, and what was sent leaves first", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const heard = yield* Queue.unbounded<Peer>()
      const { port } = yield* Scope.provide(
        serve({
          onMessage: (peer, frames) => {
            Queue.offerUnsafe(heard, peer)
            return frames?.[0] === "HANG" ? Effect.never : undefined
          }
        }),
        scope
      )
      const says = Effect.fnUntraced(function*(word: string) {
        const self = yield* RawZmtp.connect(port, identity("dlr"))
        yield* self.message("", word)
        return { ...self, peer: yield* Queue.take(heard) }
      })
      const [deaf, hangs, reads] = [yield* says("RD"), yield* says("HANG"), yield* says("RD")]
      deaf.socket.pause()
      while (deaf.peer.sendUnsafe(["TR", "x".repeat(1_000_000)]));
      reads.peer.sendUnsafe(["QT"])
      const started = performance.now()
      yield* Scope.close(scope, Exit.void)
      assert.isBelow(performance.now() - started, 10_000)
      for (const expected of [[], ["<READY>"], ["", "QT"]]) assert.deepStrictEqual(yield* reads.nextPart, expected)
      yield* reads.ended
      yield* hangs.ended
    }))
})
