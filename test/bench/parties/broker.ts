/**
 * A broker, as `kosmonaut serve` runs it, with a vhost `/bench`.
 */
import { Effect, ManagedRuntime, Redacted } from "effect"
import { setTimeout as pause } from "node:timers/promises"
import type * as Engine from "../../../src/server/engine/Vhosts.ts"
import * as VhostViews from "../../../src/server/engine/VhostViews.ts"
import { Broker, type BrokerConfig, Vhosts } from "../../../src/server/index.ts"
import * as Pace from "../harness/pace.ts"
import * as Role from "../harness/role.ts"

/** The browsers of a benchmark are all from here, say much at once and answer no ping. */
const unlimited: BrokerConfig.Options = {
  browsers: { maxPerAddress: Infinity, messageRate: Infinity, byteRate: Infinity, pingInterval: "1 day" }
}

let pace: Pace.Pace | undefined
let vhost: Engine.Vhost | undefined

const functions = {
  /** Binds free ports and gives its URLs. */
  start: async (channels: ReadonlyArray<string>, options?: BrokerConfig.Options) => {
    const runtime = ManagedRuntime.make(Broker.layer({
      websocketPort: 0,
      backendPort: 0,
      tcpPort: 0,
      vhosts: [{ path: "/bench", channels }],
      ...unlimited,
      ...options
    }))
    const broker = await runtime.runPromise(Broker.Broker)
    vhost = await runtime.runPromise(
      Effect.flatMap(Vhosts.Vhosts, (vhosts) => Effect.map(vhosts.get("/bench"), VhostViews.ofView))
    )
    const urls = broker.urls(vhost)
    return {
      browsers: { port: broker.websocketPort, path: "/bench" },
      zmq: Redacted.value(urls.backend),
      tcp: Redacted.value(urls.backendTcp)
    }
  },
  /** Single access tokens for so many browsers. */
  tokens: (count: number): Promise<ReadonlyArray<string>> =>
    Effect.runPromise(Effect.forEach(
      Array.from({ length: count }),
      () => Effect.map(vhost!.accessTokens.issue("joe", ".*"), Redacted.value)
    )),
  /** Opens `count` channels with this prefix. */
  openChannels: (prefix: string, count: number): void => {
    for (let i = 0; i < count; i++) Effect.runSync(vhost!.channels.open(`${prefix}-${i}`))
  },
  /** Waits until this node has applied what all nodes have done. */
  settled: async (): Promise<void> => void await Effect.runPromise(vhost!.channels.list),
  /** Broadcasts so many times. */
  broadcast: (channel: string, count: number): void => {
    for (let n = 0; n < count; n++) {
      Effect.runSync(vhost!.channels.broadcast(channel, "said", { n, text: "x".repeat(20) }))
    }
  },
  /** Broadcasts to a channel of so many, in this process, for so long. */
  fanOut: (receivers: number, window: number, milliseconds: number) => {
    pace = Pace.begin(window, milliseconds)
    const broadcast = Effect.suspend(() => vhost!.channels.broadcast("room", "hello", { what: "world" }))
    return Pace.fanOut(pace, receivers, () => Effect.runSync(broadcast))
  },
  arrived: (more: number): void => pace!.arrived(more),
  /** How many events wait for a worker. */
  waiting: (): number => vhost!.lobby.counters.queued,
  /** Waits until so many events do. */
  wait: async (count: number): Promise<void> => {
    while (vhost!.lobby.counters.queued < count) await pause(1)
  }
}

export type Functions = typeof functions
Role.serve(functions)
