/**
 * The handlers of `AdminApi` for vhosts, their access tokens and the rules of their channels.
 */

import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as ChannelRules from "../../ChannelRules.ts"
import { type Vhost, Vhosts } from "../../Vhosts.ts"
import { AdminApi } from "../AdminApi.ts"
import type * as Model from "../AdminModel.ts"
import { answered, inVhost, notFound } from "./outcomes.ts"
import * as Parts from "./parts.ts"

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
        return Parts.answer({ items: summaries, next }, query, identity)
      }))
    .handle("add", ({ payload }) => answered(Vhosts.use(({ add }) => Effect.flatMap(add(payload), detailsOf))))
    .handle("get", ({ params }) => inVhost(params.vhost, detailsOf))
    .handle("remove", ({ params }) => answered(Vhosts.use(({ remove }) => remove(params.vhost))))
})

const tokens = HttpApiBuilder.group(AdminApi, "tokens", (handlers) =>
  handlers
    .handle("list", ({ params }) =>
      inVhost(params.vhost, ({ tokens }) =>
        Effect.map(tokens, (all) => ({ tokens: all.map(Redacted.value) }))))
    .handle("add", ({ params, payload }) =>
      answered(Vhosts.use(({ addToken }) =>
        Effect.map(addToken(params.vhost, payload.token), shown)
      )))
    .handle("remove", ({ params, payload }) =>
      Effect.flatMap(
        answered(Vhosts.use(({ removeToken }) =>
          removeToken(params.vhost, payload.token)
        )),
        (isRemoved) => isRemoved ? Effect.void : notFound(`The vhost ${params.vhost} does not have this access token`)
      ))
    .handle("regenerate", ({ params }) =>
      answered(Vhosts.use(({ regenerateToken }) =>
        Effect.map(regenerateToken(params.vhost), shown)
      ))))

const shown = (token: Redacted.Redacted) => ({ token: Redacted.value(token) })

const channelRules = HttpApiBuilder.group(AdminApi, "channelRules", (handlers) =>
  handlers
    .handle("get", ({ params }) => inVhost(params.vhost, rulesOf))
    .handle("set", ({ params, payload }) =>
      inVhost(params.vhost, (vhost) =>
        Effect.fromResult(ChannelRules.fromText(JSON.stringify(payload.rules))).pipe(
          Effect.flatMap(vhost.setChannelRules),
          Effect.andThen(rulesOf(vhost))
        ))))

// As they are stored: durations and sizes are texts.
const rulesOf = ({ channelRules }: Vhost) =>
  channelRules.pipe(
    Effect.flatMap((rules) => Effect.orDie(Effect.fromResult(ChannelRules.make(rules)))),
    Effect.map((rules): typeof Model.ChannelRules.Type => ({ rules: JSON.parse(ChannelRules.toText(rules)) }))
  )

/** The handlers. */
export const layer = Layer.mergeAll(vhosts, tokens, channelRules)
