import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"

describe("BrokerConfig", () => {
  it("has a default for everything, and binds this machine alone", () => {
    expect(BrokerConfig.make()).toEqual(BrokerConfig.defaults)
    expect(BrokerConfig.make({})).toMatchObject({
      host: "127.0.0.1",
      websocketPort: 8080,
      backendPort: 8081,
      tcpPort: 8083,
      vhosts: [],
      maxMessageSize: 1024 * 1024,
      missedHeartbeats: 3,
      queueCapacity: 10_000,
      queueSize: 64 * 1024 * 1024
    })
    expect(Duration.toMillis(BrokerConfig.make().heartbeatInterval)).toBe(500)
    expect(Duration.toMillis(BrokerConfig.make().accessTokenTimeToLive)).toBe(3_600_000)
    expect(Duration.toMillis(BrokerConfig.make().lifecycleRetention)).toBe(60_000)
  })

  it.effect("uses every option that is given, also 0, and not `undefined`", () =>
    Effect.gen(function*() {
      const given = {
        host: "::1",
        websocketPort: 0,
        backendPort: 0,
        tcpPort: 0,
        vhosts: [{ path: "/a" }],
        maxMessageSize: 1,
        outboxSize: 0,
        missedHeartbeats: 1,
        queueCapacity: 0,
        queueSize: 0,
        memberDataSize: 0,
        maxChannels: 0,
        maxAccessTokens: 0
      }
      const config = yield* Effect.provide(
        BrokerConfig.BrokerConfig,
        BrokerConfig.layer({
          ...given,
          pingInterval: "1 minute",
          heartbeatInterval: 20,
          lifecycleRetention: 0,
          accessTokenTimeToLive: Duration.seconds(2)
        })
      )
      expect(config).toMatchObject(given)
      const { accessTokenTimeToLive, heartbeatInterval, lifecycleRetention, pingInterval } = config
      expect([pingInterval, heartbeatInterval, lifecycleRetention, accessTokenTimeToLive].map(Duration.toMillis))
        .toEqual([60_000, 20, 0, 2000])
      const nothing = Object.fromEntries(Object.keys(BrokerConfig.defaults).map((key) => [key, undefined]))
      expect(BrokerConfig.make(nothing)).toEqual(BrokerConfig.defaults)
    }))

  it.effect.each<[BrokerConfig.Options, string]>([
    [{ queueCapacity: -1 }, "queueCapacity cannot be -1: it is a number, 0 or more; Infinity is no bound"],
    [{ queueSize: NaN }, "queueSize cannot be NaN"],
    [{ maxChannels: "7" as unknown as number }, "maxChannels cannot be \"7\""],
    [{ maxMessageSize: NaN }, "maxMessageSize cannot be NaN: it is a whole number, 1 or more"],
    [{ maxMessageSize: 0 }, "maxMessageSize cannot be 0"],
    [{ maxMessageSize: Infinity }, "maxMessageSize cannot be Infinity"],
    [{ missedHeartbeats: 0 }, "missedHeartbeats cannot be 0: it is a number, 1 or more"],
    [{ missedHeartbeats: Infinity }, "missedHeartbeats cannot be Infinity"],
    [{ heartbeatInterval: Infinity }, "heartbeatInterval cannot be Infinity: it is a duration of at most a day"],
    [{ heartbeatInterval: NaN }, "heartbeatInterval cannot be NaN"],
    [
      { pingInterval: { seconds: -1 } },
      "pingInterval cannot be {\"seconds\":-1}: it is a duration that is not negative"
    ],
    [{ lifecycleRetention: "soon" as "1 hour" }, "lifecycleRetention cannot be \"soon\""],
    [{ accessTokenTimeToLive: null as unknown as number }, "accessTokenTimeToLive cannot be null"],
    [{ host: "" }, "host cannot be \"\": it is a text that is not empty"],
    [{ storageDir: "" }, "storageDir cannot be \"\""]
  ])("describes what is wrong with %j", ([options, sentence]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(BrokerConfig.layer(options)))
      expect(error._tag).toBe("InvalidOptionError")
      expect(error.message).toContain(`The option ${sentence}`)
    }))

  it.effect("accepts Infinity as no limit", () =>
    Effect.gen(function*() {
      const endless = { queueCapacity: Infinity, outboxSize: Infinity, accessTokenTimeToLive: Infinity }
      yield* Layer.build(BrokerConfig.layer(endless))
    }))
})
