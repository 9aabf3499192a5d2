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
import { version } from "./Version.ts"

const cookie: HttpApiSecurity.ApiKey = HttpApiSecurity.annotate(
  HttpApiSecurity.apiKey({ key: "X-WebRocket-Cookie" }),
  OpenApi.Description,
  "The cookie of the broker, 40 hexadecimal digits"
)

/**
 * Marks what needs the cookie. The endpoint has compared it before a request gets here.
 *
 * @since 0.1.0
 */
export class Cookie extends HttpApiMiddleware.Service<Cookie>()("kosmonaut/server/admin/AdminApi/Cookie", {
  security: { cookie }
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
const changing = [Errors.NotFoundError, Errors.UnavailableError] as const
const setting = [Errors.InvalidError, ...changing] as const
const describe = (summary: string, description?: string) =>
  OpenApi.annotations({ summary, ...description !== undefined && { description } })

/**
 * The broker as a whole.
 *
 * @since 0.1.0
 */
export const broker = HttpApiGroup.make("broker").add(
  HttpApiEndpoint.get("status", "/status", { success: Model.Status })
    .annotateMerge(describe("What the broker has now, over all vhosts")),
  HttpApiEndpoint.get("nodes", "/nodes", { success: Model.Nodes, error: Errors.UnavailableError })
    .annotateMerge(describe("The living nodes of the cluster", "None for a broker that is alone")),
  HttpApiEndpoint.get("overview", "/overview", { success: Model.Overview }).annotateMerge(
    describe("What a dashboard shows of the broker", "As often as once a second: it costs no more if there is more")
  ),
  HttpApiEndpoint.get("slowBrowsers", "/slow-browsers", { success: Model.SlowBrowsers }).annotateMerge(
    describe("The browsers for which most is queued", "At most 10, of all vhosts. It looks at every browser")
  ),
  HttpApiEndpoint.get("tailRefusals", "/refusals/tail", {
    success: HttpApiSchema.StreamSse({ data: Model.RefusalsTail })
  }).annotateMerge(
    describe(
      "What is refused, live",
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
  }).annotateMerge(describe("Adds a vhost", "It has a random access token unless you give one")),
  HttpApiEndpoint.get("get", "/vhosts/:vhost", { params: vhost, success: Model.Vhost, error: Errors.NotFoundError })
    .annotateMerge(describe("A vhost with its access token")),
  HttpApiEndpoint.delete("remove", "/vhosts/:vhost", { params: vhost, error: changing }).annotateMerge(
    describe("Removes a vhost", "Its workers are dismissed, its browsers disconnected, its events deleted")
  )
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
    error: setting
  }).annotateMerge(describe("Adds an access token", "It is a random one unless you give one. A vhost has at most 10")),
  HttpApiEndpoint.post("remove", "/vhosts/:vhost/tokens/remove", {
    params: vhost,
    payload: Model.Token,
    error: setting
  }).annotateMerge(
    describe(
      "Removes an access token",
      "The connections of backends that use it are ended. The only one of a vhost cannot be removed"
    )
  ),
  HttpApiEndpoint.post("regenerate", "/vhosts/:vhost/tokens/regenerate", {
    params: vhost,
    success: Model.Token,
    error: changing
  }).annotateMerge(
    describe("Replaces all access tokens by a new one", "It is a random one. The connections of all backends are ended")
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
    describe("The rules of the channels of a vhost", "Without those of the broker, which come after them")
  ),
  HttpApiEndpoint.put("set", "/vhosts/:vhost/channel-rules", {
    params: vhost,
    payload: Model.ChannelRules,
    success: Model.ChannelRules,
    error: setting
  }).annotateMerge(
    describe(
      "Replaces the rules of the channels of a vhost",
      "They apply to open channels, too. If one is wrong, nothing changes. With storage they outlast the broker, unless its options have other rules for this vhost"
    )
  )
).annotate(OpenApi.Title, "channel rules")

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
    error: [Errors.NotFoundError, Errors.UnavailableError]
  }).annotateMerge(
    describe("The open channels", "Or those whose names begin with a prefix, in the order of their opening")
  ),
  HttpApiEndpoint.get("get", "/vhosts/:vhost/channels/:channel", {
    params: channel,
    success: Model.Channel,
    error: changing
  }).annotateMerge(describe("An open channel")),
  HttpApiEndpoint.put("open", "/vhosts/:vhost/channels/:channel", {
    params: channel,
    success: Model.Channel,
    error: setting
  }).annotateMerge(describe("Opens a channel", "One that is open stays open")),
  HttpApiEndpoint.delete("close", "/vhosts/:vhost/channels/:channel", { params: channel, error: changing })
    .annotateMerge(describe("Closes a channel", "Its subscribers receive :unsubscribed")),
  HttpApiEndpoint.get("subscribers", "/vhosts/:vhost/channels/:channel/subscribers", {
    params: channel,
    query: Model.Page,
    success: Model.part(Model.Subscriber),
    error: changing
  }).annotateMerge(
    describe("The subscribers of a channel", "Those that are not hidden, in the order of their subscriptions")
  ),
  HttpApiEndpoint.get("tail", "/vhosts/:vhost/channels/:channel/tail", {
    params: channel,
    success: HttpApiSchema.StreamSse({ data: Model.ChannelTail }),
    error: changing
  }).annotateMerge(
    describe(
      "What is broadcast on a channel, live",
      "As server-sent events, until the channel is closed or you read too slowly"
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
  }).annotateMerge(describe("The connected browsers", "In the order in which they have connected")),
  HttpApiEndpoint.delete("disconnect", "/vhosts/:vhost/browsers/:sid", {
    params: { ...vhost, sid: Schema.String },
    success: Model.Disconnected,
    error: changing
  }).annotateMerge(describe("Disconnects one browser")),
  HttpApiEndpoint.delete("disconnectUser", "/vhosts/:vhost/users/:uid/browsers", {
    params: { ...vhost, uid: Schema.String },
    success: Model.Disconnected,
    error: changing
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
  }).annotateMerge(describe("The connected workers", "In the order of their registration")),
  HttpApiEndpoint.get("queue", "/vhosts/:vhost/queue", {
    params: vhost,
    success: Model.Queue,
    error: Errors.NotFoundError
  }).annotateMerge(
    describe("What is queued", "How many events are queued and unacknowledged, and how old the oldest queued one is")
  )
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
    error: changing
  }).annotateMerge(describe("The dead letters, the oldest first")),
  HttpApiEndpoint.post("replayAll", "/vhosts/:vhost/dead-letters/replay", {
    params: vhost,
    success: Model.Replayed,
    error: changing
  }).annotateMerge(
    describe("Replays all dead letters", "They are events again, the oldest first, until the queue is full")
  ),
  HttpApiEndpoint.post("replay", "/vhosts/:vhost/dead-letters/:id/replay", {
    params: { ...vhost, id: Schema.String },
    error: changing
  }).annotateMerge(describe("Replays a dead letter", "It is an event again, without attempts")),
  HttpApiEndpoint.delete("discardAll", "/vhosts/:vhost/dead-letters", {
    params: vhost,
    success: Model.Discarded,
    error: changing
  }).annotateMerge(describe("Deletes all dead letters")),
  HttpApiEndpoint.delete("discard", "/vhosts/:vhost/dead-letters/:id", {
    params: { ...vhost, id: Schema.String },
    error: changing
  }).annotateMerge(describe("Deletes a dead letter"))
).annotate(OpenApi.Title, "dead letters")

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
    version,
    description:
      "Administration of a Kosmonaut broker. Choose Authorize and give the cookie: it is in `kosmonaut.cookie` in the storage folder, or what the broker was started with"
  }))
{}
