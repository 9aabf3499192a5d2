import { describe, expect, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Exit, Fiber, Layer, Option, Redacted, Scope } from "effect"
import * as Http from "node:http"
import * as Net from "node:net"
import { Broker, type BrokerConfig, BrokerError, Vhosts } from "../../src/server/index.ts"
import { ListenError } from "../../src/transport/TransportServer.ts"
import * as BrokerSide from "../harness/brokerSide.ts"
import * as Browser from "../harness/Browser.ts"
import { eventually, turn } from "../harness/eventually.ts"
import { identity } from "../harness/identity.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"
import * as RawZmq from "../harness/RawZmq.ts"
import { layer as testBroker, TestBroker, token } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"

/** A broker that a test stops itself. */
const start = Effect.fnUntraced(function*(options?: BrokerConfig.Options) {
  const scope = yield* Scope.make()
  const services = yield* Layer.buildWithScope(testBroker(options), scope)
  const { broker, urls, vhost } = Context.get(services, TestBroker)
  return { broker, urls, vhost, stop: Scope.close(scope, Exit.void) }
})

/** Stops a broker, which takes less than two seconds whatever its peers do. */
const stopsInTime = Effect.fnUntraced(function*(broker: { readonly stop: Effect.Effect<void> }) {
  const stopping = yield* Effect.forkDetach(broker.stop)
  const stopped = yield* Effect.timeoutOption(Fiber.join(stopping), "2 seconds")
  expect(Option.isSome(stopped)).toBe(true)
})

const ports = ["websocketPort", "backendPort", "tcpPort"] as const

/** Binds a port of this machine for the scope. */
const occupy = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer().listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
      server.on("error", (cause) => resume(Effect.die(cause)))
    }),
    (server) => Effect.sync(() => server.close())
  )

const portOf = (server: Net.Server) => (server.address() as Net.AddressInfo).port

describe("Broker", () => {
  describe("starting", () => {
    it.live("returns its ports, on this machine alone by default", () =>
      Effect.gen(function*() {
        const { broker, urls, vhost } = yield* TestBroker
        expect(broker.host).toBe("127.0.0.1")
        expect(new Set(ports.map((port) => broker[port])).size).toBe(3)
        expect(ports.every((port) => broker[port] > 0)).toBe(true)
        expect(urls.websocket).toBe(`ws://127.0.0.1:${broker.websocketPort}/test`)
        expect(Redacted.value(urls.backend)).toBe(`wr://${token}@127.0.0.1:${broker.backendPort}/test`)
        expect(Redacted.value(urls.backendTcp)).toBe(`wr+tcp://${token}@127.0.0.1:${broker.tcpPort}/test`)
        expect(broker.addresses).toEqual({
          websocket: `ws://127.0.0.1:${broker.websocketPort}`,
          backend: `wr://127.0.0.1:${broker.backendPort}`,
          backendTcp: `wr+tcp://127.0.0.1:${broker.tcpPort}`
        })
        expect(JSON.stringify([broker, urls, vhost])).not.toContain(token)
        for (const port of ports) {
          const elsewhere = Net.connect(broker[port], "127.0.0.2")
          const refused = yield* Effect.callback<boolean>((resume) => {
            elsewhere.on("connect", () => resume(Effect.succeed(false)))
            elsewhere.on("error", () => resume(Effect.succeed(true)))
            return Effect.sync(() => elsewhere.destroy())
          })
          expect([port, refused]).toEqual([port, true])
        }
      }).pipe(withBroker()))

    it.live.each([["0.0.0.0", "127.0.0.1"], ["::1", "[::1]"], ["::", "[::1]"], ["127.0.0.2", "127.0.0.2"]])(
      "bound to %s can be reached at %s",
      ([host, reachable]) =>
        Effect.gen(function*() {
          const { broker, urls } = yield* TestBroker
          expect(urls.websocket).toBe(`ws://${reachable}:${broker.websocketPort}/test`)
          const browser = yield* Browser.connect(urls.websocket)
          expect(browser.sid).not.toBe("")
          expect(Redacted.value(urls.backend)).toContain(`@${reachable}:`)
          expect(broker.addresses.backendTcp).toBe(`wr+tcp://${reachable}:${broker.tcpPort}`)
        }).pipe(withBroker({ host }))
    )

    it.live.each([
      ["websocketPort", "browsers"],
      ["backendPort", "backends over ZeroMQ"],
      ["tcpPort", "backends over TCP"]
    ])("fails if the %s is in use, with which one", ([option, endpoint]) =>
      Effect.gen(function*() {
        const taken = portOf(yield* occupy(0))
        const failure = yield* Effect.flip(Effect.scoped(Layer.build(testBroker({ [option]: taken }))))
        expect(failure).toBeInstanceOf(ListenError)
        expect(failure).toMatchObject({ _tag: "ListenError", endpoint, host: "127.0.0.1", port: taken })
        expect(failure.message).toContain(`127.0.0.1:${taken}`)
        expect(failure.message).toContain(endpoint)
        expect(failure.message).toContain("in use")
      }))

    it.live.each(ports.flatMap((option) => [-1, 65_536, 1.5, NaN].map((port) => [option, port] as const)))(
      "fails if the %s is %d",
      ([option, port]) =>
        Effect.gen(function*() {
          const failure = yield* Effect.flip(Effect.scoped(Layer.build(testBroker({ [option]: port }))))
          expect(failure).toMatchObject({ _tag: "InvalidOptionError", option, value: String(port) })
        })
    )

    it.live("has its options from configuration", () =>
      Effect.gen(function*() {
        const { websocketPort } = yield* Broker.Broker
        const vhosts = yield* Vhosts.Vhosts
        expect(websocketPort).toBeGreaterThan(0)
        expect((yield* vhosts.list).map(({ path }) => path)).toEqual(["/test"])
      }).pipe(
        Effect.provide(Broker.layerConfig({
          websocketPort: Config.Int("PORT"),
          backendPort: Config.succeed(0),
          tcpPort: Config.succeed(0),
          vhosts: Config.all([Config.all({ path: Config.String("VHOST"), token: Config.Redacted("TOKEN") })])
        })),
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ PORT: "0", VHOST: "/test", TOKEN: token })
        )
      ))

    it.live("leaves no port bound when it fails", () =>
      Effect.gen(function*() {
        const [one, two] = [portOf(yield* occupy(0)), yield* Effect.scoped(Effect.map(occupy(0), portOf))]
        const three = yield* Effect.scoped(Effect.map(occupy(0), portOf))
        for (const taken of ports) {
          const [first, second] = ports.filter((port) => port !== taken)
          const options = { [taken]: one, [first!]: two, [second!]: three }
          yield* Effect.flip(Effect.scoped(Layer.build(testBroker(options))))
          yield* Effect.scoped(Effect.andThen(occupy(two), occupy(three)))
        }
      }))

    it.live("fails for an address that this machine does not have", () =>
      Effect.gen(function*() {
        const failure = yield* Effect.flip(Effect.scoped(Layer.build(testBroker({ host: "192.0.2.1" }))))
        expect(failure).toBeInstanceOf(ListenError)
        expect(failure.message).toContain("192.0.2.1")
      }))

    it.live("fails for an invalid vhost, and binds nothing", () =>
      Effect.gen(function*() {
        const port = yield* Effect.scoped(Effect.map(occupy(0), portOf))
        const options = { websocketPort: port, backendPort: 0, tcpPort: 0, vhosts: [{ path: "no path" }] }
        const failure = yield* Effect.flip(Effect.scoped(Layer.build(Broker.layer(options))))
        expect(failure).toBeInstanceOf(BrokerError.InvalidVhostError)
        yield* Effect.scoped(occupy(port))
      }))
  })

  describe("stopping", () => {
    it.live("sends QT to workers, closes browsers with 1001, and frees its ports at once", () =>
      Effect.gen(function*() {
        const self = yield* start()
        const { broker, urls } = self
        const browser = yield* Browser.connect(urls.websocket)
        yield* browser.send({ subscribe: { channel: "room" } })
        yield* browser.nextOf(":subscribed")
        const overTcp = yield* RawTcp.connect(broker.tcpPort)
        yield* overTcp.send(RawTcp.message(identity("dlr"), "", "RD"))
        yield* overTcp.next
        const overZmq = yield* RawZmq.dealer(broker.backendPort, identity("dlr"))
        yield* overZmq.send("", "RD")
        yield* overZmq.next

        yield* stopsInTime(self)
        expect(yield* browser.closed).toBe(1001)
        expect(yield* overTcp.rest).toBe("QT\n\n\r\n\r\n")
        expect(yield* overZmq.next).toEqual(["", "QT"])

        const { backendPort, tcpPort, websocketPort } = broker
        const again = yield* start({ backendPort, tcpPort, websocketPort })
        expect(again.broker).toMatchObject({ backendPort, tcpPort, websocketPort })
        yield* Browser.connect(again.urls.websocket)
        yield* stopsInTime(again)
      }))

    it.live("notifies each of many workers and browsers", () =>
      Effect.gen(function*() {
        const self = yield* start({ heartbeat: { interval: "1 hour" } })
        const { broker, urls, vhost } = self
        const dealers = yield* Effect.replicateEffect(
          Effect.suspend(() => RawZmq.dealer(broker.backendPort, identity("dlr"))),
          50
        )
        for (const dealer of dealers) yield* dealer.send("", "RD")
        const peers = yield* Effect.replicateEffect(RawTcp.connect(broker.tcpPort), 50)
        for (const peer of peers) yield* peer.send(RawTcp.message(identity("dlr"), "", "RD"))
        const browsers = yield* Effect.replicateEffect(Browser.connect(urls.websocket), 50)
        yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 100)
        yield* stopsInTime(self)
        for (const browser of browsers) expect(yield* browser.closed).toBe(1001)
        for (const peer of peers) expect(yield* peer.rest).toMatch(/QT\n\n\r\n\r\n$/)
        for (const dealer of dealers) {
          const words = yield* Effect.replicateEffect(dealer.next, 2)
          expect(words).toEqual([["", "HB"], ["", "QT"]])
        }
      }))

    it.live("sends workers what was triggered just before", () =>
      Effect.gen(function*() {
        const self = yield* start()
        const overTcp = yield* RawTcp.connect(self.broker.tcpPort)
        yield* overTcp.send(RawTcp.message(identity("dlr"), "", "RD"))
        yield* overTcp.next
        // Its first heartbeat is answered already; the answer to the second says that both were read.
        for (const _ of [1, 2]) yield* overTcp.send(RawTcp.message("HB"))
        yield* overTcp.next
        const overZmq = yield* RawZmq.dealer(self.broker.backendPort, identity("dlr"))
        yield* overZmq.send("", "RD")
        yield* overZmq.next
        for (const _ of [1, 2]) yield* overZmq.send("", "HB")
        yield* overZmq.next
        for (let n = 0; n < 40; n++) yield* self.vhost.lobby.enqueue(`{"e":{"n":${n}}}`)
        yield* stopsInTime(self)
        const json = (n: number) => `{"e":{"n":${n}}}`
        for (let n = 0; n < 40; n += 2) {
          expect(yield* overTcp.next).toBe(`TR\n${json(n)}\n\r\n\r\n`)
          expect(yield* overZmq.next).toEqual(["", "TR", json(n + 1)])
        }
        expect(yield* overTcp.rest).toBe("QT\n\n\r\n\r\n")
        expect(yield* overZmq.next).toEqual(["", "QT"])
      }))

    const holders: ReadonlyArray<
      readonly [
        string,
        (broker: Broker.Broker["Service"]) => Effect.Effect<
          unknown,
          unknown,
          Scope.Scope
        >
      ]
    > = [
      [
        "a browser does not answer the close",
        ({ websocketPort }) => Effect.flatMap(RawWebSocket.connect(websocketPort, "/test"), (raw) => raw.next)
      ],
      [
        "a browser has stopped reading",
        ({ websocketPort }) =>
          Effect.tap(RawWebSocket.connect(websocketPort, "/test"), ({ socket }) => Effect.sync(() => socket.pause()))
      ],
      ["a TCP peer holds its connection and has said nothing", ({ tcpPort }) => RawTcp.connect(tcpPort)],
      [
        "a TCP peer is in the middle of a message",
        ({ tcpPort }) => Effect.tap(RawTcp.connect(tcpPort), (peer) => peer.send(`${identity("req")}\n\nOC\n`))
      ],
      [
        "a TCP worker does not close its end",
        ({ tcpPort }) =>
          Effect.tap(
            RawTcp.halfOpen(tcpPort, RawTcp.message(identity("dlr"), "", "RD")),
            (socket) => Effect.sync(() => socket.resume())
          )
      ],
      ["a peer of the WebSocket port has said nothing", ({ websocketPort }) => RawTcp.connect(websocketPort)],
      [
        "a peer of the WebSocket port is in the middle of its request",
        ({ websocketPort }) =>
          Effect.tap(RawTcp.connect(websocketPort), (peer) => peer.send("GET /test HTTP/1.1\r\nHost: x\r\n"))
      ],
      ["a peer of the WebSocket port is in the middle of a body", ({ websocketPort }) =>
        Effect.tap(
          RawTcp.connect(websocketPort),
          (peer) => peer.send("POST /test HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbody")
        )],
      ["an HTTP client keeps its connection alive", ({ websocketPort }) => keepAlive(websocketPort)],
      ["a peer of the ZeroMQ port has said nothing", ({ backendPort }) => RawTcp.connect(backendPort)],
      ["a ZeroMQ worker has gone without a word", ({ backendPort }) =>
        Effect.scoped(Effect.gen(function*() {
          const dealer = yield* RawZmq.dealer(backendPort, identity("dlr"))
          yield* dealer.send("", "RD")
          yield* dealer.next
        }))]
    ]
    it.live.each(holders)(
      "takes less than two seconds and leaves no connection if %s",
      ([_, hold]) =>
        Effect.gen(function*() {
          const { open } = yield* BrokerSide.watch
          const self = yield* start()
          yield* hold(self.broker)
          // Whatever they hold, by now the broker has it.
          const browser = yield* Browser.connect(self.urls.websocket)
          yield* browser.send({ subscribe: { channel: "room" } })
          yield* browser.nextOf(":subscribed")
          const connections = Effect.sync(() => open(self.broker.websocketPort) + open(self.broker.tcpPort))
          expect(yield* connections).toBeGreaterThan(0)
          yield* stopsInTime(self)
          yield* eventually(connections, (count) => count === 0)
        }),
      { concurrent: true }
    )

    it.live("takes less than two seconds if a TCP worker has stopped reading", () =>
      Effect.gen(function*() {
        const { of } = yield* BrokerSide.watch
        const self = yield* start()
        const peer = yield* RawTcp.connect(self.broker.tcpPort)
        yield* peer.send(RawTcp.message(identity("dlr"), "", "RD") + RawTcp.message("HB"))
        yield* peer.next
        peer.socket.pause()
        const kept = of(peer.socket)
        const json = JSON.stringify({ e: { text: "x".repeat(500_000) } })
        for (let n = 0; n < 60 && kept.writableLength < 1_000_000; n++) {
          yield* self.vhost.lobby.enqueue(json)
          yield* turn
        }
        expect(kept.writableLength).toBeGreaterThan(500_000)
        yield* stopsInTime(self)
      }), { concurrent: true })

    it.live("takes less than two seconds if a browser is being disconnected", () =>
      Effect.gen(function*() {
        const { of } = yield* BrokerSide.watch
        const self = yield* start({ browsers: { outboxSize: 65_536 } })
        const slow = yield* RawWebSocket.connect(self.broker.websocketPort, "/test")
        yield* slow.send(1, `{"subscribe":{"channel":"room"}}`)
        yield* slow.next
        yield* slow.next
        slow.socket.pause()
        const isThere = Effect.map(self.vhost.channels.describe("room"), ({ subscribers }) => subscribers === 1)
        for (let n = 0; n < 400 && (yield* isThere); n++) {
          yield* self.vhost.channels.broadcast("room", "n", { text: "x".repeat(262_144) })
          yield* turn
        }
        expect(yield* isThere).toBe(false)
        expect(of(slow.socket).destroyed).toBe(false)
        yield* stopsInTime(self)
      }), { concurrent: true })
  })

  it.live(
    "keeps nothing of two hundred browsers and as many Clients that have disconnected",
    () =>
      Effect.gen(function*() {
        const { open } = yield* BrokerSide.watch
        const { broker, urls, vhost } = yield* TestBroker
        const granted = yield* Effect.replicateEffect(vhost.accessTokens.issue("joe", ".*"), 100)
        const cycle = (n: number) =>
          Effect.scoped(Effect.gen(function*() {
            const browser = yield* Browser.connect(urls.websocket)
            const single = granted[n]
            if (single !== undefined) {
              yield* browser.send({ auth: { token: Redacted.value(single) } })
              yield* browser.send({ subscribe: { channel: "presence-room" } })
            }
            yield* browser.send({ subscribe: { channel: "room" } })
            if (n % 3 === 0) yield* browser.nextOf(":subscribed")
            const backend = yield* RawTcp.connect(broker.tcpPort)
            if (n % 4 === 0) {
              yield* backend.send(RawTcp.message(identity("dlr"), "", "RD"))
              yield* backend.next
            } else if (n % 4 === 1) {
              yield* backend.send(RawTcp.message(identity("req"), "", "OC", "room"))
              expect(yield* backend.rest).toBe("OK\n\n\r\n\r\n")
            } else if (n % 4 === 2) {
              yield* backend.send(identity("req"))
            }
          }))
        yield* Effect.forEach(Array.from({ length: 200 }, (_, n) => n), cycle, { concurrency: 50, discard: true })
        yield* eventually(
          vhost.channels.list,
          (list) => list.every(({ subscribers }) => subscribers === 0)
        )
        yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 0)
        const connections = Effect.sync(() => open(broker.websocketPort) + open(broker.tcpPort))
        yield* eventually(connections, (count) => count === 0)
        expect((yield* vhost.channels.list).length).toBe(3)
      }).pipe(withBroker({ heartbeat: { interval: "1 hour" } })),
    { concurrent: true, timeout: 60_000 }
  )

  // Meanwhile, since it takes as long as Node.js wants.
  it.live(
    "closes connections to the WebSocket port that send nothing, or nothing whole, and no browser",
    () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const browser = yield* RawWebSocket.connect(broker.websocketPort, "/test")
        yield* browser.next
        const body = yield* RawTcp.connect(broker.websocketPort)
        yield* body.send("POST /test HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        const [silent, slow] = [
          yield* RawTcp.connect(broker.websocketPort),
          yield* RawTcp.connect(broker.websocketPort)
        ]
        yield* slow.send("GET /test HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
        const start = performance.now()
        expect(yield* silent.rest).toMatch(/^(HTTP\/1\.1 408 |$)/)
        expect(yield* slow.rest).toMatch(/^HTTP\/1\.1 408 /)
        expect(yield* body.rest).toMatch(/^HTTP\/1\.1 4(08|26) /)
        expect(performance.now() - start).toBeLessThan(20_000)
        expect(yield* browser.hasEnded).toBe(false)
        yield* browser.send(1, `{"subscribe":{"channel":"room"}}`)
        expect((yield* browser.next).payload.toString()).toBe(`{":subscribed":{"channel":"room"}}`)
      }).pipe(withBroker()),
    { concurrent: true }
  )
})

/** Asks once and keeps the connection. */
const keepAlive = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Http.Agent>((resume) => {
      const agent = new Http.Agent({ keepAlive: true })
      Http.get({ port, host: "127.0.0.1", path: "/test", agent }, (answer) => {
        answer.resume()
        answer.on("end", () => resume(Effect.succeed(agent)))
      })
    }),
    (agent) => Effect.sync(() => agent.destroy())
  )
