/**
 * The handlers of `AdminApi` for vhosts, their access tokens and the rules of their channels.
 */

import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as ChannelRules from "../../ChannelRules.ts"
import { type Vhost, Vhosts } from "../../Vhosts.ts"
import { AdminApi } from "../AdminApi.ts"
import * as Errors from "../AdminError.ts"
import type * as Model from "../AdminModel.ts"
import { find, invalid, notFound, unavailable } from "./outcomes.ts"
import * as Parts from "./parts.ts"

const gone = ({ message }: { readonly message: string }) => Effect.fail(new Errors.NotFoundError({ message }))

const detailsOf = (vhost: Vhost) =>
  Effect.zipWith(vhost.counts, vhost.tokens, (counts, { length }) => ({
    path: vhost.path,
    token: Redacted.value(vhost.token),
    tokens: length,
    counts
  }))

const vhosts = HttpApiBuilder.group(AdminApi, "vhosts", (handlers) => {
  const part = Parts.makeCursors((vhost: Vhost) => vhost)
  return handlers
    .handle("list", ({ query }) =>
      Effect.gen(function*() {
        const { items, next } = part(yield* Vhosts.use(({ list }) => list), query)
        const summaries = yield* Effect.forEach(
          items,
          ({ cursor, value }) => Effect.map(value.counts, (counts) => ({ cursor, value: { path: value.path, counts } }))
        )
        return Parts.answer({ items: summaries, next }, query, (summary) => summary)
      }))
    .handle("add", ({ payload }) =>
      Vhosts.use(({ add }) => add(payload)).pipe(
        Effect.flatMap(detailsOf),
        Effect.catchTags({
          VhostExistsError: ({ message }) => Effect.fail(new Errors.AlreadyExistsError({ message })),
          InvalidVhostError: invalid,
          InvalidChannelNameError: invalid,
          InternalError: unavailable
        })
      ))
    .handle("get", ({ params }) => Effect.flatMap(find(params.vhost), detailsOf))
    .handle("remove", ({ params }) =>
      Vhosts.use(({ remove }) => remove(params.vhost)).pipe(
        Effect.catchTags({
          VhostNotFoundError: gone,
          InternalError: unavailable
        })
      ))
})

const tokens = HttpApiBuilder.group(AdminApi, "tokens", (handlers) =>
  handlers
    .handle("list", ({ params }) =>
      find(params.vhost).pipe(
        Effect.flatMap(({ tokens }) => tokens),
        Effect.map((tokens) => ({ tokens: tokens.map(Redacted.value) }))
      ))
    .handle("add", ({ params, payload }) =>
      Vhosts.use(({ addToken }) => addToken(params.vhost, payload.token)).pipe(
        Effect.map(shown),
        Effect.catchTags({ VhostNotFoundError: gone, InvalidVhostTokenError: invalid, InternalError: unavailable })
      ))
    .handle("remove", ({ params, payload }) =>
      Vhosts.use(({ removeToken }) =>
        removeToken(params.vhost, payload.token)
      ).pipe(
        Effect.catchTags({ VhostNotFoundError: gone, InvalidVhostTokenError: invalid, InternalError: unavailable }),
        Effect.flatMap((isRemoved) =>
          isRemoved ? Effect.void : Effect.fail(notFound(`The vhost ${params.vhost} does not have this access token`)())
        )
      ))
    .handle("regenerate", ({ params }) =>
      Vhosts.use(({ regenerateToken }) => regenerateToken(params.vhost)).pipe(
        Effect.map(shown),
        Effect.catchTags({ VhostNotFoundError: gone, InternalError: unavailable })
      )))

const shown = (token: Redacted.Redacted) => ({ token: Redacted.value(token) })

const channelRules = HttpApiBuilder.group(AdminApi, "channelRules", (handlers) =>
  handlers
    .handle("get", ({ params }) => Effect.flatMap(find(params.vhost), rulesOf))
    .handle("set", ({ params, payload }) =>
      Effect.gen(function*() {
        const vhost = yield* find(params.vhost)
        const rules = yield* Effect.fromResult(ChannelRules.fromText(JSON.stringify(payload.rules)))
        yield* vhost.setChannelRules(rules)
        return yield* rulesOf(vhost)
      }).pipe(Effect.catchTags({ InvalidOptionError: invalid, InternalError: unavailable }))))

// As they are stored: durations and sizes are texts.
const rulesOf = ({ channelRules }: Vhost) =>
  channelRules.pipe(
    Effect.flatMap((rules) => Effect.orDie(Effect.fromResult(ChannelRules.make(rules)))),
    Effect.map((rules): typeof Model.ChannelRules.Type => ({ rules: JSON.parse(ChannelRules.toText(rules)) }))
  )

/** The handlers. */
export const layer = Layer.mergeAll(vhosts, tokens, channelRules)
