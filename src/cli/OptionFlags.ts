/**
 * The flags of `kosmonaut serve` that are options of the broker. A flag has the name, the default and the checks of its
 * option: `--queue-capacity` is `queue.capacity`. Options without a flag can be set in the environment.
 *
 * @since 0.1.0
 */

import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type TextOption, textOptions } from "../server/BrokerConfig.ts"
import * as ChannelRules from "../server/ChannelRules.ts"

/** What a flag gives: the text of an option, if it was given. */
type TextFlag = Flag.Flag<string | undefined>

const option = (path: string): TextOption => textOptions.find((option) => option.path === path)!

const withDefault = (what: string, { standard }: TextOption): string =>
  standard === undefined || standard === "" ? what : `${what}; default ${standard}`

const text = (path: string, what: string, metavar?: string): TextFlag =>
  described(path, withDefault(what, option(path)), metavar)

// The description has the default, which is not that of the option.
const described = (path: string, what: string, metavar?: string): TextFlag => {
  const found = option(path)
  return Flag.String(found.flag).pipe(
    Flag.withMetavar(metavar ?? found.metavar),
    Flag.filter((text) => found.parse(text) !== undefined, () => `it is ${found.written}`),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
    Flag.withDescription(what)
  )
}

const isOn = (path: string, what: string): TextFlag =>
  Flag.Boolean(option(path).flag).pipe(
    Flag.optional,
    Flag.map((value) => Option.getOrUndefined(Option.map(value, String))),
    Flag.withDescription(what)
  )

// A list is given by repeating its flag.
const repeated = (name: string, path: string, metavar: string, what: string): TextFlag =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.atLeast(0),
    Flag.map((values) => values.length === 0 ? undefined : values.join(",")),
    Flag.withDescription(withDefault(`${what}; may be repeated`, option(path)))
  )

// Each is checked by itself, so that the message says which one is wrong.
const channelRules: TextFlag = Flag.String("channel-rule").pipe(
  Flag.withMetavar("<rule>"),
  Flag.filterMap(
    (text) => Option.map(Result.getSuccess(ChannelRules.fromWords(text)), (rule) => JSON.stringify(rule)),
    (text) => Result.getOrElse(Result.flip(ChannelRules.fromWords(text)), () => "")
  ),
  Flag.atLeast(0),
  Flag.map((rules) => rules.length === 0 ? undefined : `[${rules.join(",")}]`),
  Flag.withDescription(
    `What channels are like whose whole name matches a pattern: "<pattern> <setting> …" with the settings ${
      ChannelRules.words.join(", ")
    }, as "room-.* open-on-demand history-count=100", or a JSON object. May be repeated, and the first that matches counts; default none: a backend opens channels, and nothing is retained`
  )
)

/**
 * The flags, by the paths of the options.
 *
 * @since 0.1.0
 */
export const optionFlags = {
  "host": text("host", "The address to bind; 0.0.0.0 is every address", "<address>"),
  "websocketPort": text("websocketPort", "Where browsers connect; 0 picks a free port"),
  "backendPort": text("backendPort", "Where backends connect, over ZeroMQ (wr://) or TCP (wr+tcp://)"),
  "tcpPort": text("tcpPort", "A second port for backends, the one of wr+tcp:// URLs without a port; both speak both"),
  "tls.cert": text(
    "tls.cert",
    "The file of a certificate for TLS, PEM: browsers then connect to wss://, and backends may use wrs+tcp://; read again when it changes",
    "<file>"
  ),
  "tls.key": text("tls.key", "The file of the certificate's private key, PEM", "<file>"),
  "curve.secretKeyFile": text(
    "curve.secretKeyFile",
    "The file of the broker's secret key for wrs://, which kosmonaut keygen makes",
    "<file>"
  ),
  "curve.clientKeys": repeated(
    "curve-client-key",
    "curve.clientKeys",
    "<key>",
    "With --curve-secret-key-file: the public key of a backend that may connect, by wrs:// alone; default all backends that know an access token"
  ),
  "admin.port": described(
    "admin.port",
    "Where administrators connect, and programs that watch the broker; off is nowhere. Administrators need a cookie: $KOSMONAUT_ADMIN_COOKIE, or kosmonaut.cookie in --storage-dir; default 8082"
  ),
  "admin.host": text("admin.host", "The address to bind for administrators", "<address>"),
  "storageDir": text(
    "storageDir",
    "The folder in which vhosts, tokens, channels and their history, unhandled events and dead letters are stored, so that they outlast the broker; default none: all is in memory",
    "<folder>"
  ),
  "nodeName": text(
    "nodeName",
    "With --redis-url: what people call this node, in lists; default the name of the machine",
    "<name>"
  ),
  "fsync": isOn(
    "fsync",
    "With --storage-dir: wait for the disk before anything counts as stored, which outlasts a loss of power, too"
  ),
  "browsers.origins": repeated(
    "origin",
    "browsers.origins",
    "<origin>",
    "A web site whose browsers may connect, as https://example.com; * is every site, none is the broker's own host name"
  ),
  "browsers.trustedProxies": repeated(
    "trusted-proxy",
    "browsers.trustedProxies",
    "<address>",
    "A reverse proxy, as 10.0.0.7 or 10.0.0.0/8, whose X-Forwarded-For header has the browser's address"
  ),
  "channelRules": channelRules,
  "maxChannelsOnDemand": text(
    "maxChannelsOnDemand",
    "How many channels of a vhost may be open that no backend has opened; beyond it they are rejected"
  ),
  "browsers.broadcast": isOn(
    "browsers.broadcast",
    "Let browsers broadcast on the channels they are subscribed to, as WebRocket does; default no: only backends may"
  ),
  "browsers.max": text(
    "browsers.max",
    "How many browsers may be connected; at most nine tenths of the file descriptors that are free at the start"
  ),
  "browsers.maxPerVhost": text("browsers.maxPerVhost", "How many browsers may be connected to one vhost"),
  "browsers.maxPerAddress": text("browsers.maxPerAddress", "How many browsers may be connected from one address"),
  "browsers.authenticationTimeout": text(
    "browsers.authenticationTimeout",
    "Disconnect browsers that have not authenticated after this time"
  ),
  "browsers.pingInterval": text(
    "browsers.pingInterval",
    "How often browsers are pinged; one from which nothing was received until the next ping is disconnected"
  ),
  "browsers.messageRate": text(
    "browsers.messageRate",
    "How many messages a second a browser may send, in bursts five times as many"
  ),
  "browsers.byteRate": text(
    "browsers.byteRate",
    "How many bytes a second a browser may send, in bursts five times as many"
  ),
  "browsers.outboxSize": text(
    "browsers.outboxSize",
    "How many bytes may be queued for a browser that does not read; beyond it the browser is disconnected"
  ),
  "jwt.secretFile": text(
    "jwt.secretFile",
    "Accept tokens that are signed with a secret (JWT, HS256): a file with a secret on each line, of at least 32 bytes; or $KOSMONAUT_JWT_SECRET, a secret",
    "<file>"
  ),
  "jwt.publicKeys": repeated(
    "jwt-public-key",
    "jwt.publicKeys",
    "<file>",
    "Accept tokens that are signed with a private key (JWT, RS256 or ES256): the file of the public key, PEM"
  ),
  "jwt.jwksUrl": text(
    "jwt.jwksUrl",
    "Accept tokens of an identity provider (JWT, RS256 or ES256), whose public keys are at this URL (JWKS)",
    "<url>"
  ),
  "jwt.audience": text("jwt.audience", "What signed tokens must have as their audience, aud; default anything"),
  "jwt.issuer": text("jwt.issuer", "Who must have issued signed tokens, iss; default anybody"),
  "jwt.anyVhost": isOn(
    "jwt.anyVhost",
    "Accept signed tokens that do not name the vhost that they are for, in every vhost; default no: they are rejected"
  ),
  "queue.capacity": text(
    "queue.capacity",
    "How many events of a vhost may be queued or in flight; beyond it triggers are rejected"
  ),
  "queue.maxDeliveries": text(
    "queue.maxDeliveries",
    "How many workers may crash or disappear with an event before it becomes a dead letter"
  ),
  "maxMessageSize": text(
    "maxMessageSize",
    "The largest message of a browser or a backend; a larger one ends the connection"
  ),
  "drainTime": text(
    "drainTime",
    "Over how long browsers are disconnected when the broker stops, so that they do not all reconnect at once; 0s is at once"
  ),
  "shutdownTimeout": text(
    "shutdownTimeout",
    "How long stopping may take after that; connections that are still open then are cut"
  )
}
