/**
 * What administrators can ask of a broker under `/api`, as an `HttpApi`: `HttpApiClient.make(AdminApi)` is a typed client of it.
 * The OpenAPI document is at `/api/openapi.json`, and a page to browse it at `/api`; these two need no cookie.
 *
 * A vhost in a path is its own path without the first slash, encoded: `/eu/chat` is `eu%2Fchat`. Lists come in parts: a part with
 * a `next` is not the last one, and `after` continues there. Unknown keys of a body or a query are invalid. A failure has a `_tag`
 * and a `message` for a person.
 *
 * @since 0.1.0
 */

import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as Errors from "./AdminError.ts"
import * as Model from "./AdminModel.ts"

/**
 * Marks what needs the cookie. The endpoint has compared it before a request gets here.
 *
 * @since 0.1.0
 */
export class Cookie extends HttpApiMiddleware.Service<Cookie>()("kosmonaut/server/admin/AdminApi/Cookie", {
  security: { cookie: HttpApiSecurity.apiKey({ key: "X-WebRocket-Cookie" }) }
}) {}

/**
 * Answers what does not have the declared form with an `InvalidError`.
 *
 * @since 0.1.0
 */
export class Validation extends HttpApiMiddleware.Service<Validation>()("kosmonaut/server/admin/AdminApi/Validation", {
  error: Errors.InvalidError
}) {}

const vhost = { vhost: Model.VhostPath }
const channel = { ...vhost, channel: Schema.String }
const describe = (description: string) => OpenApi.annotations({ description })

/**
 * The broker as a whole.
 *
 * @since 0.1.0
 */
export const broker = HttpApiGroup.make("broker").add(
  HttpApiEndpoint.get("status", "/status", { success: Model.Status }).annotateMerge(
    describe("What the broker has now, over all vhosts")
  ),
  HttpApiEndpoint.get("tailRefusals", "/refusals/tail", {
    success: HttpApiSchema.StreamSse({ data: Model.RefusalsTail })
  }).annotateMerge(
    describe(
      "Once a second what was refused in it, as server-sent events: browsers, their messages, events and requests"
    )
  )
)

/**
 * The vhosts.
 *
 * @since 0.1.0
 */
export const vhosts = HttpApiGroup.make("vhosts").add(
  HttpApiEndpoint.get("list", "/vhosts", { query: Model.Page, success: Model.part(Model.VhostSummary) })
    .annotateMerge(describe("The vhosts, in the order of their creation")),
  HttpApiEndpoint.post("add", "/vhosts", {
    payload: Model.NewVhost,
    success: Model.Vhost,
    error: [Errors.InvalidError, Errors.AlreadyExistsError, Errors.UnavailableError]
  }).annotateMerge(describe("Adds a vhost, with a random access token unless you give one")),
  HttpApiEndpoint.get("get", "/vhosts/:vhost", { params: vhost, success: Model.Vhost, error: Errors.NotFoundError })
    .annotateMerge(describe("A vhost with its access token")),
  HttpApiEndpoint.delete("remove", "/vhosts/:vhost", {
    params: vhost,
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Removes a vhost: dismisses its workers, disconnects its browsers, deletes its events"))
)

/**
 * The access tokens of a vhost. No token is in a path, which servers and traces show.
 *
 * @since 0.1.0
 */
export const tokens = HttpApiGroup.make("tokens").add(
  HttpApiEndpoint.get("list", "/vhosts/:vhost/tokens", {
    params: vhost,
    success: Model.Tokens,
    error: Errors.NotFoundError
  }).annotateMerge(describe("The access tokens of a vhost, the current one first")),
  HttpApiEndpoint.post("add", "/vhosts/:vhost/tokens", {
    params: vhost,
    payload: Model.NewToken,
    success: Model.Token,
    error: [Errors.InvalidError, Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Adds an access token, a random one unless you give one; a vhost has at most 10")),
  HttpApiEndpoint.post("remove", "/vhosts/:vhost/tokens/remove", {
    params: vhost,
    payload: Model.Token,
    error: [Errors.InvalidError, Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(
    describe("Removes an access token, and ends the connections of backends that use it; not the only one of a vhost")
  ),
  HttpApiEndpoint.post("regenerate", "/vhosts/:vhost/tokens/regenerate", {
    params: vhost,
    success: Model.Token,
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(
    describe("Replaces all access tokens by a new random one, and ends the connections of all backends")
  )
)

/**
 * The rules of the channels of a vhost.
 *
 * @since 0.1.0
 */
export const channelRules = HttpApiGroup.make("channelRules").add(
  HttpApiEndpoint.get("get", "/vhosts/:vhost/channel-rules", {
    params: vhost,
    success: Model.ChannelRules,
    error: Errors.NotFoundError
  }).annotateMerge(
    describe("The rules of the channels of a vhost, without those of the broker, which come after them")
  ),
  HttpApiEndpoint.put("set", "/vhosts/:vhost/channel-rules", {
    params: vhost,
    payload: Model.ChannelRules,
    success: Model.ChannelRules,
    error: [Errors.InvalidError, Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(
    describe(
      "Replaces the rules of the channels of a vhost, for open channels too. If one is wrong nothing changes. With storage they outlast the broker, unless its options have other rules for this vhost"
    )
  )
)

/**
 * The channels of a vhost, and who is subscribed to them.
 *
 * @since 0.1.0
 */
export const channels = HttpApiGroup.make("channels").add(
  HttpApiEndpoint.get("list", "/vhosts/:vhost/channels", {
    params: vhost,
    query: { ...Model.Page, prefix: Schema.optionalKey(Schema.String) },
    success: Model.part(Model.Channel),
    error: Errors.NotFoundError
  }).annotateMerge(
    describe("The open channels, or those whose names begin with a prefix, in the order of their opening")
  ),
  HttpApiEndpoint.get("get", "/vhosts/:vhost/channels/:channel", {
    params: channel,
    success: Model.Channel,
    error: Errors.NotFoundError
  }).annotateMerge(describe("An open channel")),
  HttpApiEndpoint.put("open", "/vhosts/:vhost/channels/:channel", {
    params: channel,
    success: Model.Channel,
    error: [Errors.InvalidError, Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Opens a channel; one that is open stays open")),
  HttpApiEndpoint.delete("close", "/vhosts/:vhost/channels/:channel", {
    params: channel,
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Closes a channel; its subscribers receive :unsubscribed")),
  HttpApiEndpoint.get("subscribers", "/vhosts/:vhost/channels/:channel/subscribers", {
    params: channel,
    query: Model.Page,
    success: Model.part(Model.Subscriber),
    error: Errors.NotFoundError
  }).annotateMerge(describe("The subscribers that are not hidden, in the order of their subscriptions")),
  HttpApiEndpoint.get("tail", "/vhosts/:vhost/channels/:channel/tail", {
    params: channel,
    success: HttpApiSchema.StreamSse({ data: Model.ChannelTail }),
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(
    describe(
      "What is broadcast on a channel from now on, as server-sent events, until the channel is closed or you read too slowly"
    )
  )
)

/**
 * The browsers of a vhost.
 *
 * @since 0.1.0
 */
export const browsers = HttpApiGroup.make("browsers").add(
  HttpApiEndpoint.get("list", "/vhosts/:vhost/browsers", {
    params: vhost,
    query: Model.Page,
    success: Model.part(Model.Browser),
    error: Errors.NotFoundError
  }).annotateMerge(describe("The connected browsers, in the order in which they have connected")),
  HttpApiEndpoint.delete("disconnect", "/vhosts/:vhost/browsers/:sid", {
    params: { ...vhost, sid: Schema.String },
    success: Model.Disconnected,
    error: Errors.NotFoundError
  }).annotateMerge(describe("Disconnects one browser")),
  HttpApiEndpoint.delete("disconnectUser", "/vhosts/:vhost/users/:uid/browsers", {
    params: { ...vhost, uid: Schema.String },
    success: Model.Disconnected,
    error: Errors.NotFoundError
  }).annotateMerge(describe("Disconnects all browsers of a user"))
)

/**
 * The workers of a vhost, and its events that wait for them.
 *
 * @since 0.1.0
 */
export const workers = HttpApiGroup.make("workers").add(
  HttpApiEndpoint.get("list", "/vhosts/:vhost/workers", {
    params: vhost,
    query: Model.Page,
    success: Model.part(Model.Worker),
    error: Errors.NotFoundError
  }).annotateMerge(describe("The connected workers, in the order of their registration")),
  HttpApiEndpoint.get("queue", "/vhosts/:vhost/queue", {
    params: vhost,
    success: Model.Queue,
    error: Errors.NotFoundError
  }).annotateMerge(describe("How many events are queued and unacknowledged, and how old the oldest queued one is"))
)

/**
 * The dead letters of a vhost.
 *
 * @since 0.1.0
 */
export const deadLetters = HttpApiGroup.make("deadLetters").add(
  HttpApiEndpoint.get("list", "/vhosts/:vhost/dead-letters", {
    params: vhost,
    query: Model.Page,
    success: Model.part(Model.DeadLetter),
    error: Errors.NotFoundError
  }).annotateMerge(describe("The dead letters, the oldest first")),
  HttpApiEndpoint.post("replayAll", "/vhosts/:vhost/dead-letters/replay", {
    params: vhost,
    success: Model.Replayed,
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Makes all dead letters events again, the oldest first, until the queue is full")),
  HttpApiEndpoint.post("replay", "/vhosts/:vhost/dead-letters/:id/replay", {
    params: { ...vhost, id: Schema.String },
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Makes a dead letter an event again, without attempts")),
  HttpApiEndpoint.delete("discardAll", "/vhosts/:vhost/dead-letters", {
    params: vhost,
    success: Model.Discarded,
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Deletes all dead letters")),
  HttpApiEndpoint.delete("discard", "/vhosts/:vhost/dead-letters/:id", {
    params: { ...vhost, id: Schema.String },
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(describe("Deletes a dead letter"))
)

/**
 * All of it.
 *
 * @since 0.1.0
 */
export class AdminApi extends HttpApi.make("kosmonaut")
  .add(broker, vhosts, tokens, channels, channelRules, browsers, workers, deadLetters)
  .middleware(Validation)
  .middleware(Cookie)
  .prefix("/api")
  // A key that is misspelled must not be as if it were absent.
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error" })
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error" })
  .annotateMerge(OpenApi.annotations({
    title: "Kosmonaut",
    description: "Administration of a Kosmonaut broker. Authorize with the cookie, 40 hexadecimal digits"
  }))
{}
