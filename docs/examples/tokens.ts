/**
 * Recipes for tokens: what a single access token may grant, how to end it early, how to sign a stateless one, and how to rotate
 * the token of a vhost.
 */
import { Effect, Redacted } from "effect"
import { SignJWT } from "jose"
import { Client } from "kosmonaut"
import { connect } from "kosmonaut/script"
import { Vhosts } from "kosmonaut/server"

/** A token for ten minutes. The browser gets another one before they are over. */
export const tokenFor = Effect.fn("tokenFor")(function*(uid: string, name: string) {
  const client = yield* Client.Client
  return yield* client.requestSingleAccessToken({
    uid,
    channels: ["presence-lobby"],
    subscribe: [`private-news-${uid}`],
    info: { name },
    expiresIn: "10 minutes"
  })
})

/** Ends what a user has: the browsers that are connected, and the tokens that no browser has used yet. */
export const signOut = Effect.fn("signOut")(function*(uid: string) {
  const client = yield* Client.Client
  return yield* client.disconnect({ uid, revokeTokens: true })
})

/** A token for ten minutes that no broker has issued. */
export const signedTokenFor = (secret: Redacted.Redacted, uid: string, name: string) =>
  Effect.promise(() =>
    new SignJWT({ vhost: "/chat", pattern: "presence-.*", channels: [`private-news-${uid}`], info: { name } })
      .setProtectedHeader({ alg: "HS256" })
      .setSubject(uid)
      .setExpirationTime("10 minutes")
      .sign(new TextEncoder().encode(Redacted.value(secret)))
  )

/** A browser with a stateless token, which its backend signs. */
export const joe = () =>
  connect("wss://example.com/chat", {
    token: async () => ({ jwt: await fetch("/token").then((response) => response.text()) })
  })

/** Rotates the access token of a vhost. `deploy` gives the new one to all backends. */
export const rotate = Effect.fn("rotate")(function*(
  path: string,
  deploy: (token: Redacted.Redacted) => Effect.Effect<void>
) {
  const vhosts = yield* Vhosts.Vhosts
  const { token } = yield* vhosts.get(path)
  yield* deploy(yield* vhosts.addToken(path))
  yield* vhosts.removeToken(path, token)
})
