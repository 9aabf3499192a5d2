import { describe, expect, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Layer, Redacted, Result } from "effect"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import * as ChannelRules from "../../src/server/ChannelRules.ts"

const defaults = Effect.runSync(BrokerConfig.make())

const inEnvironment = (env: Record<string, string>) =>
  Effect.provideService(BrokerConfig.environment, ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

describe("BrokerConfig", () => {
  it.effect("has a default for everything, and binds this machine alone", () =>
    Effect.gen(function*() {
      expect(yield* BrokerConfig.make({ queue: {}, tokens: undefined, host: undefined })).toEqual(defaults)
      expect(defaults).toMatchObject({
        host: "127.0.0.1",
        websocketPort: 8080,
        backendPort: 8081,
        tcpPort: 8083,
        vhosts: [],
        maxMessageSize: 1024 * 1024,
        browsers: { broadcast: false, origins: [], max: Infinity, authenticationTimeout: Duration.infinity },
        heartbeat: { maxMissed: 3, interval: Duration.millis(500) },
        queue: { capacity: 10_000, size: 64 * 1024 * 1024, lifecycleRetention: Duration.minutes(1) },
        tokens: { timeToLive: Duration.hours(1) }
      })
    }))

  it.effect("uses every option that is given, also 0, and the defaults of the others in its group", () =>
    Effect.gen(function*() {
      const given = {
        host: "::1",
        websocketPort: 0,
        maxMessageSize: 1,
        maxChannels: 0,
        browsers: { outboxSize: 0, dataSize: 0 },
        heartbeat: { maxMissed: 1 },
        queue: { capacity: 0 },
        tokens: { capacity: 0 }
      }
      const config = yield* BrokerConfig.make({
        ...given,
        browsers: { ...given.browsers, pingInterval: "1 minute" },
        heartbeat: { ...given.heartbeat, interval: 2 },
        queue: { ...given.queue, lifecycleRetention: 0, size: undefined },
        tokens: { ...given.tokens, timeToLive: { seconds: 2 } }
      })
      expect(config).toMatchObject(given)
      const { browsers: { pingInterval }, heartbeat: { interval }, queue, tokens: { timeToLive } } = config
      expect(queue.size).toBe(64 * 1024 * 1024)
      expect([pingInterval, interval, queue.lifecycleRetention, timeToLive].map(Duration.toMillis))
        .toEqual([60_000, 10, 0, 2000])
    }))

  it.effect("redacts tokens, and prints none", () =>
    Effect.gen(function*() {
      const token = "0123456789abcdef0123456789abcdef01234567"
      const { vhosts } = yield* BrokerConfig.make({
        vhosts: [{ path: "/a", token }, { path: "/b", token: Redacted.make(token) }, { path: "/c", channels: ["room"] }]
      })
      expect(vhosts.map(({ token }) => token && Redacted.value(token))).toEqual([token, token, undefined])
      expect(vhosts[2]!.channels).toEqual(["room"])
      expect(JSON.stringify(vhosts)).not.toContain(token)
      const error = yield* Effect.flip(BrokerConfig.make({ vhosts: [{ path: "/a", token: [token] as never }] }))
      expect(error.message).not.toContain(token)
      expect(error.option).toBe("vhosts.0.token")
    }))

  it.effect.each<[BrokerConfig.Options, string]>([
    [{ queue: { capacity: -1 } }, "queue.capacity cannot be -1: it is a number, 0 or more; Infinity is no limit"],
    [{ queue: { size: NaN } }, "queue.size cannot be NaN"],
    [{ queue: { maxDeliveries: 0 } }, "queue.maxDeliveries cannot be 0: it is a number, 1 or more"],
    [{ queue: 7 as never }, "queue cannot be 7: it is an object with options"],
    [{ maxChannels: "7" as never }, "maxChannels cannot be \"7\""],
    [{ maxMessageSize: NaN }, "maxMessageSize cannot be NaN: it is a whole number of bytes, 1 or more"],
    [{ maxMessageSize: 0 }, "maxMessageSize cannot be 0"],
    [{ maxMessageSize: Infinity }, "maxMessageSize cannot be Infinity"],
    [{ browsers: { messageRate: 0 } }, "browsers.messageRate cannot be 0: it is a number above 0"],
    [{ browsers: { broadcast: 1 as never } }, "browsers.broadcast cannot be 1: it is true or false"],
    [{ browsers: { origins: "https://example.com" as never } }, "browsers.origins cannot be \"https://example.com\""],
    [{ heartbeat: { maxMissed: Infinity } }, "heartbeat.maxMissed cannot be Infinity: it is a number, 1 or more"],
    [{ heartbeat: { interval: Infinity } }, "heartbeat.interval cannot be Infinity: it is a duration of at most a day"],
    [{ heartbeat: { interval: NaN } }, "heartbeat.interval cannot be NaN"],
    [
      { browsers: { pingInterval: { seconds: -1 } } },
      "browsers.pingInterval cannot be {\"seconds\":-1}: it is a duration of at most a day"
    ],
    [{ queue: { lifecycleRetention: "soon" as "1 hour" } }, "queue.lifecycleRetention cannot be \"soon\""],
    [{ tokens: { timeToLive: null as never } }, "tokens.timeToLive cannot be null"],
    [{ channelRules: [{ pattern: "" }] }, "channelRules.0.pattern cannot be \"\": it is a text that is not empty"],
    [{ channelRules: [{} as never] }, "channelRules.0.pattern cannot be undefined: it is required"],
    [{ channelRules: {} as never }, "channelRules cannot be {}: it is a list"],
    [
      { channelRules: [{ pattern: "a" }, { pattern: "b", history: 7 as never }] },
      "channelRules.1.history cannot be 7: it is true, false or an object with count, size and age"
    ],
    [{ channelRules: [{ pattern: "a", history: { count: -1 } }] }, "channelRules.0.history.count cannot be -1"],
    [{ channelRules: [{ pattern: "a", grace: "soon" as "1 hour" }] }, "channelRules.0.grace cannot be \"soon\""],
    [
      { channelRules: [{ pattern: "a", open: true } as never] },
      "channelRules.0.open cannot be true: it is no setting of a rule, which has pattern, openOnDemand, history, " +
      "browsersBroadcast, presence, grace, maxSubscribers, latest"
    ],
    [
      { vhosts: [{ path: "/a", channelRules: [{ pattern: "a", open: 1 } as never] }] },
      "vhosts.0.channelRules.0.open cannot be 1: it is no setting of a rule"
    ],
    [{ channelRules: Array.from({ length: 101 }, () => ({ pattern: "a" })) }, "channelRules cannot be [{"],
    [
      { vhosts: [{ path: "/a", channelRules: [{ pattern: "a", maxSubscribers: -1 }] }] },
      "vhosts.0.channelRules.0.maxSubscribers cannot be -1"
    ],
    [{ host: "" }, "host cannot be \"\": it is a text that is not empty"],
    [{ storageDir: "" }, "storageDir cannot be \"\""],
    [{ backendPort: 65_536 }, "backendPort cannot be 65536: it is a port, 0 to 65535"],
    [{ queueCapacity: 7 } as never, "queueCapacity cannot be 7: it is no option of a broker"],
    [{ queue: { length: 7 } as never }, "queue.length cannot be 7: it is no option of a broker"]
  ])("describes what is wrong with %j", ([options, sentence]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(BrokerConfig.layer(options)))
      expect(error._tag).toBe("InvalidOptionError")
      expect(error.message).toContain(`The option ${sentence}`)
    }))

  it.effect("accepts Infinity as no limit", () =>
    BrokerConfig.make({
      queue: { capacity: Infinity },
      browsers: { outboxSize: Infinity },
      tokens: { timeToLive: "Infinity" }
    }))

  it.effect("reads the environment, and options of the application go over it", () =>
    Effect.gen(function*() {
      const found = yield* inEnvironment({
        KOSMONAUT_HOST: "0.0.0.0",
        KOSMONAUT_FSYNC: "true",
        KOSMONAUT_QUEUE_CAPACITY: "500",
        KOSMONAUT_QUEUE_SIZE: "4MiB",
        KOSMONAUT_BROWSERS_MAX_PER_ADDRESS: "unlimited",
        KOSMONAUT_BROWSERS_PING_INTERVAL: "10s",
        KOSMONAUT_BROWSERS_ORIGINS: "https://a.example, https://b.example",
        KOSMONAUT_DEAD_LETTERS_SIZE: "512 KiB",
        KOSMONAUT_TOKENS_TIME_TO_LIVE: "2 hours",
        KOSMONAUT_ADMIN_PORT: "0",
        KOSMONAUT_ADMIN_COOKIE: "0123456789".repeat(4)
      })
      expect(found.admin).toMatchObject({ port: 0 })
      expect(JSON.stringify(found)).not.toContain("0123456789")
      expect((yield* BrokerConfig.make(found)).admin.cookie).toSatisfy((cookie: Redacted.Redacted) =>
        Redacted.value(cookie) === "0123456789".repeat(4)
      )
      expect(yield* BrokerConfig.make(BrokerConfig.merge(found, { queue: { capacity: 7 } }))).toMatchObject({
        host: "0.0.0.0",
        fsync: true,
        queue: { capacity: 7, size: 4 * 1_048_576 },
        browsers: {
          maxPerAddress: Infinity,
          pingInterval: Duration.seconds(10),
          origins: ["https://a.example", "https://b.example"],
          byteRate: 1_048_576
        },
        deadLetters: { size: 524_288 },
        tokens: { timeToLive: Duration.hours(2) }
      })
      expect(yield* inEnvironment({})).toEqual({})
      const wrong = yield* inEnvironment({ KOSMONAUT_QUEUE_CAPACITY: "many" })
      expect((yield* Effect.flip(BrokerConfig.make(wrong))).message).toContain("queue.capacity cannot be \"many\"")
    }))

  it.effect("reads rules of channels as JSON, and says which part is wrong", () =>
    Effect.gen(function*() {
      const rules = [
        { pattern: "room-.*", openOnDemand: true, history: { count: 5, age: "1h" }, maxSubscribers: "unlimited" },
        { pattern: ".*", history: true, grace: "10 seconds", presence: "false" }
      ]
      const { channelRules } = yield* BrokerConfig.make(
        yield* inEnvironment({ KOSMONAUT_CHANNEL_RULES: JSON.stringify(rules) })
      )
      expect(channelRules).toMatchObject([
        { pattern: "room-.*", history: { count: 5, age: Duration.hours(1) }, maxSubscribers: Infinity, latest: false },
        { pattern: ".*", history: true, grace: Duration.seconds(10), presence: false }
      ])
      const wrong = yield* inEnvironment({ KOSMONAUT_CHANNEL_RULES: `[{"pattern":"a","history":{"count":"many"}}]` })
      expect((yield* Effect.flip(BrokerConfig.make(wrong))).message).toContain("channelRules.0.history.count cannot be")
      const noList = yield* inEnvironment({ KOSMONAUT_CHANNEL_RULES: "room" })
      expect((yield* Effect.flip(BrokerConfig.make(noList))).message).toContain("channelRules cannot be \"room\"")
    }))

  it.effect.each(
    [
      ["room-.*", { pattern: "room-.*" }],
      [" room  history ", { pattern: "room", history: true }],
      ["room history=false presence=false", { pattern: "room", history: false, presence: false }],
      [
        "a=b history history-count=unlimited history-age=1h history-size=1MiB",
        { pattern: "a=b", history: { count: Infinity, age: "1 hour", size: 1_048_576 } }
      ],
      [
        "a open-on-demand browsers-broadcast grace=500ms max-subscribers=7 latest",
        { pattern: "a", openOnDemand: true, browsersBroadcast: true, grace: 500, maxSubscribers: 7, latest: true }
      ],
      [`{"pattern":"a","history":{"age":"1h"}}`, { pattern: "a", history: { age: "1 hour" } }]
    ] as const
  )("reads the rule %j", ([text, rule]) =>
    Effect.gen(function*() {
      const read = Result.getOrThrow(ChannelRules.fromWords(text))
      const { channelRules } = yield* BrokerConfig.make(
        BrokerConfig.fromTexts({ channelRules: JSON.stringify([read]) })
      )
      const { channelRules: expected } = yield* BrokerConfig.make({ channelRules: [rule] })
      expect(channelRules).toEqual(expected)
      // And what is stored of it is the same rule.
      expect(Result.getOrThrow(ChannelRules.fromText(ChannelRules.toText(expected)))).toEqual(expected)
    }))

  it.effect("reads each option as the text that its default is", () =>
    Effect.gen(function*() {
      const texts = Object.fromEntries(BrokerConfig.textOptions.map(({ path, standard }) => [path, standard]))
      expect(yield* BrokerConfig.make(BrokerConfig.fromTexts(texts))).toEqual(defaults)
    }))
})
