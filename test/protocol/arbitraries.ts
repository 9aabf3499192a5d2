/**
 * Generated values of the protocol: the legal ones, and texts and bytes that come close.
 */
import { Arbitrary, Redacted, Schema } from "effect"
import * as ChannelName from "../../src/protocol/ChannelName.ts"
import { FromClient, FromServer } from "../../src/protocol/Command.ts"
import * as Endpoint from "../../src/protocol/Endpoint.ts"
import type { Identity } from "../../src/protocol/Identity.ts"
import type { JsonObject } from "../../src/protocol/Json.ts"
import { ObjectText } from "../../src/protocol/JsonText.ts"
import { type Delivery, encodeOrigin, type Origin } from "../../src/protocol/Trigger.ts"

type Arb<A> = Arbitrary.Arbitrary<A>

/** How many times as many runs costly properties have: 1, unless the environment says more. */
const factor = Number(process.env["PROPERTY_RUNS"] ?? 1)

/** The options of a property whose runs take long: few of them, and two minutes. */
export const costly = (runs: number, size?: number) => ({
  timeout: 120_000 * factor,
  arbitrary: { runs: runs * factor, ...(size !== undefined && { size }) }
})

export const int = (minimum: number, maximum: number): Arb<number> =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

export const oneOf = <A>(...options: ReadonlyArray<Arb<A>>): Arb<A> =>
  Arbitrary.flatMap(int(0, options.length - 1), (index) => options[index])

export const pick = <const A>(values: ReadonlyArray<A>): Arb<A> =>
  oneOf(...values.map((value) => Arbitrary.Constant(value)))

export const matching = (pattern: RegExp): Arb<string> =>
  Arbitrary.schema(Schema.String.check(Schema.isPattern(pattern)))

/** Texts made of these pieces, in any order and number. */
export const piecesOf = (pieces: ReadonlyArray<string>, maxLength: number): Arb<string> =>
  Arbitrary.map(Arbitrary.array(pick(pieces), { maxLength }), (some) => some.join(""))

// --- Texts -----------------------------------------------------------------------------------------------------------

/** Names that objects have without being asked. */
export const oddKeys = ["__proto__", "constructor", "hasOwnProperty", "prototype", "toString", "toJSON", ""] as const

const letters = ["a", "Z", "0", "_", "-", " ", "\0", "\t", "ż", "\u{FEFF}", "\u{2028}", "€", "\u{FFFD}", "😀"]

/** Any text at all: with line breaks and halves of surrogate pairs. */
export const anyText: Arb<string> = oneOf(
  Arbitrary.schema(Schema.String),
  pick(oddKeys),
  piecesOf([...letters, "\r", "\n", "\r\n", "\ud83d", "\ude00"], 12)
)

/** Unicode text. */
export const text: Arb<string> = Arbitrary.map(anyText, (any) => any.toWellFormed())

/** Text that classic TCP can carry as a frame. */
export const line: Arb<string> = Arbitrary.map(text, (any) => any.replace(/[\r\n]/g, "."))

const filled = (empty: Arb<string>): Arb<string> => Arbitrary.map(empty, (any) => any === "" ? "x" : any)

/** Words of the protocol, JSON and URLs in any order. */
const nearlyProtocol: Arb<string> = piecesOf(
  [
    [`{`, `}`, `[`, `]`, `"`, `:`, `,`, `\\`, `1e9`, `-`, `null`, `{"subscribe":`, `{"channel":"a"}`, `"__proto__"`],
    [`req:`, `dlr:`, `/a`, `b444aa042e176fe65be600a92fc71f926ee71ee6`, `7b5d2a5e-0000-4000-8000-000000000000`],
    [`wr://`, `wrs+tcp://`, `@`, `host`, `[::1]`, `:80`, `?token=`, `#`, `%`, ` `, `\n`, `\r`, `OC`, `400`, `\ud800`]
  ].flat(),
  12
)

const bytesOf = (byte: Arb<number>, maxLength: number): Arb<Uint8Array> =>
  Arbitrary.map(Arbitrary.array(byte, { maxLength }), (bytes) => Uint8Array.from(bytes))

/** Any bytes; half of them of the kind that ends frames and messages or begins characters. */
export const bytes: Arb<Uint8Array> = oneOf(
  bytesOf(int(0, 255), 60),
  bytesOf(pick([0x0a, 0x0d, 0x0a, 0x0d, 0x61, 0xc5, 0xbc, 0xef, 0xbb, 0xbf, 0xf0, 0xff]), 60)
)

/** What may stand where the protocol was expected. */
export const garbage: Arb<string> = oneOf(
  nearlyProtocol,
  anyText,
  Arbitrary.map(bytes, (any) => Buffer.from(any).toString("latin1")),
  Arbitrary.map(bytes, (any) => new TextDecoder().decode(any))
)

// --- Values ----------------------------------------------------------------------------------------------------------

/**
 * Whether no key has a backslash. The `JSON.parse` of V8 13.6 takes a key for the one that it expects there if the expected one
 * is how the key's text begins: after `{"\\":1}` it reads `{"\n":1}` as `{"\\":1}`. Keys with other escapes are read well.
 */
export const hasReadableKeys = (value: unknown): boolean =>
  typeof value !== "object" || value === null ||
  Object.entries(value).every(([key, one]) => isReadable(key) && hasReadableKeys(one))

const isReadable = (key: string) => !key.includes("\\")

/** Any text that may be the key of an object, as names of events are. */
export const key: Arb<string> = Arbitrary.filter(anyText, isReadable)

/** Any JSON. */
export const json: Arb<Schema.Json> = Arbitrary.filter(Arbitrary.schema(Schema.Json), hasReadableKeys)

/** A JSON object; odd keys are keys like any other. */
export const jsonObject: Arb<JsonObject> = Arbitrary.map(
  Arbitrary.array(Arbitrary.all([key, json]), { maxLength: 4 }),
  // Through text, so that it is what a parser makes of it: no -0, `__proto__` an own key.
  (entries) => JSON.parse(JSON.stringify(Object.fromEntries(entries))) as JsonObject
)

export const channel: Arb<string> = Arbitrary.filter(matching(/^\w[\w\-.]*$/), ChannelName.isValid)

const token: Arb<string> = matching(/^\w{40}$/)

const vhost: Arb<string> = Arbitrary.filter(matching(/^\/[\w-]+(?:\/[\w-]+)*$/), Endpoint.isVhostPath)

const ipv4 = Arbitrary.map(
  Arbitrary.all([int(0, 255), int(0, 255), int(0, 255), int(0, 255)]),
  (parts) => parts.join(".")
)

const group = oneOf(Arbitrary.Constant(0), int(0, 0xffff))
const ipv6 = Arbitrary.map(
  Arbitrary.all([group, group, group, group, group, group, group, group]),
  // As URLs spell it: lower case, zeros left out.
  (groups) => new URL(`http://[${groups.map((value) => value.toString(16)).join(":")}]`).hostname
)

export const endpoint: Arb<Endpoint.Endpoint> = Arbitrary.map(
  Arbitrary.all({
    scheme: pick(["wr", "wrs", "wr+tcp", "wrs+tcp"]),
    host: oneOf(matching(/^\w[\w-]*(?:\.\w[\w-]*)*$/), ipv4, ipv6),
    port: oneOf(pick([1, 80, 443, 8081, 8083, 65535]), int(1, 65535)),
    vhost,
    token,
    known: matching(/^[\da-f]{64}$/),
    isKnown: pick([true, false])
  }),
  ({ isKnown, known, ...parts }) =>
    new Endpoint.Endpoint({
      ...parts,
      token: Redacted.make(parts.token),
      ...isKnown && parts.scheme === "wrs" && { serverKey: known },
      ...isKnown && parts.scheme === "wrs+tcp" && { fingerprint: known }
    })
)

export const identity: Arb<Identity> = Arbitrary.map(
  Arbitrary.all({ kind: pick(["req", "dlr"]), vhost, token, id: matching(/^[\w-]{36}$/) }),
  (parts) => ({ ...parts, token: Redacted.make(parts.token) })
)

/** A cursor of a list. */
const cursor: Arb<number> = oneOf(int(0, 9), pick([0, 1000, 1e15, Number.MAX_SAFE_INTEGER]))

/** The id of a dead letter, which is never the word for all. */
const letterId = (argument: Arb<string>): Arb<string> =>
  Arbitrary.map(oneOf(argument, pick(["*", "**", " *", "* "])), (id) => id === "*" ? "a-1" : id)

/** What backends say, with arguments made of `argument`. */
export const fromClient = (argument: Arb<string>): Arb<FromClient> => {
  const needed = filled(argument)
  return oneOf<FromClient>(
    Arbitrary.map(needed, (channel) => FromClient.OpenChannel({ channel })),
    Arbitrary.map(needed, (channel) => FromClient.CloseChannel({ channel })),
    Arbitrary.map(Arbitrary.all({ channel: needed, event: needed, data: argument }), FromClient.Broadcast),
    Arbitrary.map(
      Arbitrary.all({ channel: needed, event: needed, data: needed, exceptSid: needed }),
      FromClient.Broadcast
    ),
    Arbitrary.map(Arbitrary.all({ uid: needed, pattern: needed }), FromClient.AccessToken),
    Arbitrary.map(
      Arbitrary.all({
        uid: needed,
        pattern: needed,
        channels: pick([undefined, ["a"], ["private-a", "presence-b"]]),
        info: pick([undefined, "{}", `{"__proto__":{"a":[1.50]}}`]),
        expiresIn: pick([undefined, 1, 2_592_000_000])
      }),
      ({ channels, expiresIn, info, pattern, uid }) =>
        FromClient.AccessTokenWith({
          grant: {
            uid,
            pattern,
            ...channels && { channels },
            ...info && { info: new ObjectText(info) },
            ...expiresIn !== undefined && { expiresIn }
          }
        })
    ),
    Arbitrary.map(needed, (broadcasts) => FromClient.BroadcastAll({ broadcasts })),
    Arbitrary.map(Arbitrary.all({ sid: needed, event: needed, data: argument }), FromClient.SendTo),
    Arbitrary.map(Arbitrary.all({ uid: needed, event: needed, data: argument }), FromClient.SendToUser),
    Arbitrary.map(Arbitrary.all({ uid: needed, channel: needed }), FromClient.SubscribeUser),
    Arbitrary.map(Arbitrary.all({ uid: needed, channel: needed }), FromClient.UnsubscribeUser),
    Arbitrary.map(Arbitrary.all({ prefix: argument, after: cursor }), FromClient.ListChannels),
    Arbitrary.map(needed, (channel) => FromClient.DescribeChannel({ channel })),
    Arbitrary.map(Arbitrary.all({ channel: needed, after: cursor }), FromClient.ListSubscribers),
    Arbitrary.map(Arbitrary.all({ channel: needed, after: cursor, limit: cursor }), FromClient.ListHistory),
    Arbitrary.map(Arbitrary.all({ by: pick(["sid", "uid"]), who: needed }), FromClient.Disconnect),
    Arbitrary.map(needed, (uid) => FromClient.DisconnectAndRevoke({ uid })),
    Arbitrary.map(cursor, (after) => FromClient.ListDeadLetters({ after })),
    Arbitrary.map(letterId(needed), (id) => FromClient.ReplayDeadLetter({ id })),
    Arbitrary.map(letterId(needed), (id) => FromClient.DiscardDeadLetter({ id })),
    Arbitrary.map(
      Arbitrary.all({ event: needed, data: argument, timeout: pick([undefined, 1, 1.5, 5000, 3_600_000]) }),
      ({ timeout, ...request }) => FromClient.Request({ ...request, options: timeout === undefined ? {} : { timeout } })
    ),
    Arbitrary.map(
      Arbitrary.all({
        event: needed,
        data: argument,
        delay: pick([undefined, 0, 1500, 2_592_000_000]),
        dedupeKey: oneOf(pick([undefined]), needed)
      }),
      ({ dedupeKey, delay, ...trigger }) =>
        FromClient.Trigger({
          ...trigger,
          options: {
            ...delay !== undefined && { delay },
            ...dedupeKey !== undefined && { dedupeKey: dedupeKey.slice(0, 255) }
          }
        })
    ),
    Arbitrary.map(
      Arbitrary.all({ delivery: needed, outcome: pick(["ok", "error"]), json: needed }),
      FromClient.Respond
    ),
    Arbitrary.map(
      Arbitrary.all({ lifecycle: pick([true, false]), prefetch: cursor, maxAttempts: pick([1, 2, 1000]) }),
      (options) => FromClient.Ready({ options })
    ),
    Arbitrary.map(
      Arbitrary.all([needed, Arbitrary.array(argument, { maxLength: 3 })]),
      ([first, more]) => FromClient.Ack({ deliveries: [first, ...more] })
    ),
    Arbitrary.map(Arbitrary.all({ delivery: needed, reason: argument }), FromClient.Nack),
    pick([
      FromClient.ReplayDeadLetters(),
      FromClient.DiscardDeadLetters(),
      FromClient.Ready({}),
      FromClient.Ready({ options: { lifecycle: true } }),
      FromClient.Ready({ options: { lifecycle: false } }),
      FromClient.Heartbeat(),
      FromClient.Quit()
    ])
  )
}

/** Where an event comes from; each of it may be unknown. */
export const origin = (argument: Arb<string>): Arb<Origin> => {
  const known = oneOf<string | undefined>(filled(argument), Arbitrary.Constant(undefined))
  return Arbitrary.all({ sid: known, uid: known, channel: known, traceparent: known })
}

/** One handing over of an event. Its id never looks like an origin. */
const delivery = (argument: Arb<string>): Arb<Delivery> =>
  Arbitrary.all({
    id: Arbitrary.map(filled(argument), (id) => id.startsWith("{") ? `x${id}` : id),
    attempt: Arbitrary.map(cursor, (attempt) => Math.max(1, attempt))
  })

/** What the broker says, with arguments made of `argument`. */
export const fromServer = (argument: Arb<string>): Arb<FromServer> =>
  oneOf<FromServer>(
    Arbitrary.map(filled(argument), (token) => FromServer.AccessTokenIssued({ token })),
    Arbitrary.map(int(100, 999), (code) => FromServer.Failure({ code })),
    Arbitrary.map(filled(argument), (json) => FromServer.Response({ json })),
    Arbitrary.map(argument, (json) => FromServer.Trigger({ json })),
    Arbitrary.map(
      Arbitrary.all({ json: argument, origin: origin(argument) }),
      ({ json, origin }) => FromServer.Trigger({ json, origin: encodeOrigin(origin) })
    ),
    Arbitrary.map(
      Arbitrary.all({
        json: argument,
        delivery: delivery(argument),
        origin: origin(argument),
        isFrom: pick([true, false])
      }),
      ({ delivery, isFrom, json, origin }) =>
        FromServer.Trigger({ json, delivery, origin: isFrom ? encodeOrigin(origin) : undefined })
    ),
    pick([FromServer.Ok(), FromServer.Heartbeat(), FromServer.Quit()])
  )
