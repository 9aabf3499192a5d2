/**
 * Attacks by those who have a token or the cookie: a backend with a fault, users whose names are in patterns, an administrator who was robbed.
 */
import { Effect, Redacted, Stream } from "effect"
import { address, again, alive, type Attack, browser, many, portOf, push, say, type Target, tcp } from "../stranger.ts"
import { withClient } from "./browsers.ts"

const end = "\n\r\n\r\n"

/** A Client's connection over TCP that stays open, and what it sends: one request after the other. */
const backend = ({ backendTcp, token }: Target, n: number) => {
  const socket = tcp(portOf(backendTcp), address(n))
  socket.write(`req:/test:${token}:00000000-0000-4000-8000-${String(n).padStart(12, "0")}\n\nK1${end}`)
  return socket
}

/** About the largest pattern that is accepted, and one that takes as long to match as any. */
const costly = "(x?){1,90}(x|xx|[a-z]x){1,60}[^y]*z?"

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`

const odd: ReadonlyArray<string> = [
  ...["", "{", "[]", "null", "7", nested(100_000), `{"uid":"a","pattern":".*","info":${nested(255)}}`],
  ...[
    { uid: "u".repeat(100_000), pattern: ".*" },
    { uid: "a", pattern: "(".repeat(1000) },
    { uid: "a", pattern: "((x{1,30}){1,30}){1,30}" },
    { uid: "a", pattern: `${"(a|b)?".repeat(150)}` },
    { uid: "a", pattern: costly },
    { uid: "a", pattern: ".*", channels: Array.from({ length: 50_000 }, () => "room") },
    { uid: "a", pattern: ".*", channels: Array.from({ length: 100 }, (_, n) => `hall-${n}`), expiresIn: 1 },
    { uid: "a", pattern: ".*", info: { text: "x".repeat(500_000) } },
    { uid: "a", pattern: ".*", expiresIn: 1e308 },
    { uid: "a", pattern: ".*", expiresIn: "1" },
    { uid: "a", pattern: ".*", constructor: {}, toString: null }
  ].map((grant) => JSON.stringify(grant))
]

export const oddGrants: Attack = {
  name: "odd grants",
  sentence: "request tokens for what is no grant, is too large, or ends at once, by a backend with a token",
  run: async (target) => {
    const sockets = await many(10, (n) => backend(target, n))
    return again(
      20,
      (turn) => sockets.forEach((socket, n) => push(socket, `${n}\nAX\n${odd[turn % odd.length]}${end}`))
    )
  }
}

export const costlyPatterns: Attack = {
  name: "costly patterns",
  sentence:
    "subscribe to private channels with the longest names, as users whose patterns take as long to match as any",
  run: (target) =>
    withClient(target, (client) =>
      Effect.promise(async () => {
        const sockets = await many(50, async (n) => {
          const token = await Effect.runPromise(client.requestSingleAccessToken(`user-${n}`, `${costly}${n}`))
          const auth = say({ auth: { token: Redacted.value(token) } })
          return alive(await browser(target, [auth], address(n), "/test?v=1"))
        })
        const join = say({ subscribe: { channel: `private-${"x".repeat(240)}` } })
        return again(50, () => sockets.forEach((socket) => push(socket, Buffer.concat(Array(20).fill(join)))))
      }))
}

export const ruleChanges: Attack = {
  name: "costly rules",
  sentence: "set rules with costly patterns by the admin API, again and again, while thousands of channels are open",
  // The rules that are set last stay, each with up to 0.73 MiB.
  keeps: 4,
  run: (target) =>
    withClient(target, (client) =>
      Effect.andThen(
        Effect.forEach(
          Array.from({ length: 5000 }, (_, n) => `${"x".repeat(200)}-${n}`),
          (channel) => client.openChannel(channel),
          { concurrency: 64, discard: true }
        ),
        Effect.promise(() =>
          again(50, async (turn) => {
            const rules = Array.from(
              // More are refused by what they cost.
              { length: turn % 2 === 0 ? 5 : 30 },
              (_, n) => ({ pattern: `${costly}${turn}-${n}`, openOnDemand: true })
            )
            await fetch(`${target.admin}/api/vhosts/test/channel-rules`, {
              method: "PUT",
              headers: { "X-WebRocket-Cookie": target.cookie, "content-type": "application/json" },
              body: JSON.stringify({ rules })
            }).then((response) => response.arrayBuffer(), () => {})
          })
        )
      ))
}

export const historyPages: Attack = {
  name: "1024 pages of history at once",
  sentence: "list the history of a channel with 1000 broadcasts 1024 times at the same time, by a backend",
  flags: ["--channel-rule", "room history-count=1000"],
  run: (target) =>
    withClient(target, (client) =>
      Effect.andThen(
        Effect.forEach(
          Array.from({ length: 1000 }, (_, n) => n),
          (n) => client.broadcast("room", "e", { n, text: "x".repeat(900) }),
          { concurrency: 64, discard: true }
        ),
        Effect.forever(
          Effect.forEach(Array.from({ length: 1024 }), () => Effect.ignore(Stream.runDrain(client.history("room"))), {
            concurrency: "unbounded",
            discard: true
          })
        )
      ))
}

export const guesses: Attack = {
  name: "guesses of the cookie",
  sentence: "guess the cookie of administrators, as many requests on as many connections as there can be",
  run: ({ admin }) => {
    const guess = (n: number) =>
      `GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-WebRocket-Cookie: ${n.toString(16).padStart(40, "0")}\r\n\r\n`
    return again(10, (turn) =>
      many(30, (n) => {
        const socket = tcp(portOf(admin), address(turn * 30 + n))
        socket.write(Array.from({ length: 50 }, (_, i) => guess((turn * 30 + n) * 50 + i)).join(""))
      }))
  }
}
