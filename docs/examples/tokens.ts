/**
 * Recipes for tokens: what a single access token may grant, how to end it early, and how to rotate the token of a vhost.
 */
import { Effect, type Redacted } from "effect"
import { Client } from "kosmonaut"
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
