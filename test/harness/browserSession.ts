/**
 * Sessions of browsers in a vhost, without sockets.
 */
import { Effect, Redacted } from "effect"
import { decodeOrigin } from "../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import * as BrowserSession from "../../src/server/endpoint/BrowserSession.ts"
import * as Vhosts from "../../src/server/engine/Vhosts.ts"
import { settings } from "./engine.ts"
import * as FakeBrowser from "./FakeBrowser.ts"

/** The texts of status codes. */
export const text = {
  400: "Bad request",
  402: "Unauthorized",
  403: "Forbidden",
  429: "Too many requests",
  453: "Not subscribed",
  454: "Channel not found",
  597: "Internal error"
}

/** `:error` as the original has it. */
export const error = (code: keyof typeof text) => ({ ":error": { code, status: text[code] } })

/** A vhost, and everything that a worker there receives. */
export const makeVhost = Effect.fnUntraced(function*(options: BrokerConfig.Options = {}) {
  const vhosts = yield* Effect.provide(
    Vhosts.make,
    settings(BrokerConfig.merge({ browsers: { broadcast: true } }, options))
  )
  const vhost = yield* vhosts.add({
    path: "/test",
    channels: ["room", "other", "private-room", "presence-room"]
  })
  const triggered: Array<unknown> = []
  const origins: Array<unknown> = []
  const attendAs = (lifecycle: boolean) =>
    Effect.andThen(
      vhost.lobby.register({
        id: "worker",
        connection: {},
        lifecycle,
        prefetch: undefined,
        maxAttempts: 1,
        deliverUnsafe: (json, origin, settled) => {
          triggered.push(JSON.parse(json))
          origins.push(origin === undefined ? undefined : decodeOrigin(origin))
          settled(true)
        },
        heartbeatUnsafe: () => {},
        dismiss: Effect.void
      }),
      // A worker that does not ack is given events after its first heartbeat.
      vhost.lobby.heartbeat("worker")
    )
  const attend = attendAs(false)
  const grant = (uid: string, pattern = ".*") => Effect.map(vhost.accessTokens.issue(uid, pattern), Redacted.value)
  return { vhost, attend, attendAs, triggered, origins, grant }
})

export type World = Effect.Success<ReturnType<typeof makeVhost>>

/** A browser in a session, after `:connected`. Whatever it sends returns what it receives then. */
export const enter = (world: World, sid: string, version: 0 | 1 = 0) => {
  const browser = FakeBrowser.make(sid, undefined, version)
  const session = BrowserSession.make(world.vhost, browser)
  const connected = browser.received()
  const sendText = (message: string | Uint8Array) => Effect.map(session.handle(message), () => browser.received())
  return {
    browser,
    session,
    connected,
    sendText,
    send: (event: string, payload: unknown) => sendText(JSON.stringify({ [event]: payload })),
    authenticate: (uid: string, pattern?: string) =>
      Effect.flatMap(world.grant(uid, pattern), (token) => sendText(JSON.stringify({ auth: { token } })))
  }
}
