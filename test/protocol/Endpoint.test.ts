import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Equal, Hash, Redacted, Result } from "effect"
import { inspect } from "node:util"
import * as Endpoint from "../../src/protocol/Endpoint.ts"
import { InvalidEndpointError } from "../../src/protocol/KosmonautError.ts"
import { costly, endpoint, garbage, oneOf, pick, piecesOf } from "./arbitraries.ts"

const token = "b444aa042e176fe65be600a92fc71f926ee71ee6"

const read = (url: string) => Result.getOrThrow(Endpoint.fromUrl(url))

const partsOf = ({ fingerprint, host, port, scheme, serverKey, token, vhost }: Endpoint.Endpoint) => ({
  ...serverKey !== undefined && { serverKey },
  ...fingerprint !== undefined && { fingerprint },
  scheme,
  host,
  port,
  vhost,
  token: Redacted.value(token)
})

/** Everything that a log, a debugger or a response could show of a value. */
const shown = (value: { toString(): string }): string =>
  [
    value.toString(),
    JSON.stringify(value),
    inspect(value, { depth: 9, showHidden: true }),
    ...(value instanceof Error ? [value.message, value.stack, ...Object.values(value)] : [])
  ].join("\n")

/** Whether a text tells enough of a token to guess the rest: 12 of its 40 characters. */
const tells = (text: string, token: string) =>
  Array.from({ length: token.length - 11 }, (_, at) => token.slice(at, at + 12)).some((part) => text.includes(part))

describe("Endpoint", () => {
  it("is read from a URL with the token before the host", () => {
    expect(partsOf(read(`wr://${token}@example.com:9000/moon/dark_side-2`))).toEqual({
      scheme: "wr",
      host: "example.com",
      port: 9000,
      vhost: "/moon/dark_side-2",
      token
    })
  })

  it("is read from a URL with the token in the query, as the first draft wrote it", () => {
    expect(partsOf(read(`wr://127.0.0.1:8080/vhost?token=${token}`))).toEqual({
      scheme: "wr",
      host: "127.0.0.1",
      port: 8080,
      vhost: "/vhost",
      token
    })
  })

  it("takes the token before the host where the query has one too", () => {
    expect(Redacted.value(read(`wr://${token}@host/v?token=${"0".repeat(40)}`).token)).toBe(token)
  })

  it("is read from a redacted URL", () => {
    const url = `wr://${token}@host/v`
    expect(Equal.equals(Endpoint.fromUrl(Redacted.make(url)), Endpoint.fromUrl(url))).toBe(true)
    expect(Result.isFailure(Endpoint.fromUrl(Redacted.make("nonsense")))).toBe(true)
  })

  it.each([["wr", 8081], ["wrs", 8081], ["wr+tcp", 8083], ["wrs+tcp", 8083]])(
    "over %s has port %i unless the URL names one",
    (scheme, port) => {
      expect(read(`${scheme}://${token}@host/v`).port).toBe(port)
      expect(read(`${scheme}://host/v?token=${token}`).port).toBe(port)
      expect(read(`${scheme}://${token}@[::1]/v`).port).toBe(port)
      for (const named of [1, 80, 443, 8081, 8083, 65535]) {
        expect(read(`${scheme}://${token}@host:${named}/v`).port).toBe(named)
      }
    }
  )

  it.each(["localhost", "a.b-c.example", "my_host", "10.0.0.1", "[::1]", "[2001:db8::ff00:42:8329]"])(
    "has the host %s",
    (host) => {
      expect(read(`wr+tcp://${token}@${host}/v`).host).toBe(host)
      expect(read(`wr+tcp://${token}@${host}:5/v`).address).toBe(`${host}:5`)
    }
  )

  it.prop("is read as it was written", [endpoint], ([written]) => {
    expect(partsOf(Result.getOrThrow(Endpoint.fromUrl(Endpoint.toUrl(written))))).toEqual(partsOf(written))
  })

  it.prop("is read from the first draft's form, with and without its default port", [endpoint], ([written]) => {
    const { address, host, scheme, vhost } = written
    const { fingerprint: _, serverKey: __, ...parts } = partsOf(written)
    const query = `?token=${Redacted.value(written.token)}`
    expect(partsOf(read(`${scheme}://${address}${vhost}${query}`))).toEqual(parts)
    const port = Endpoint.defaultPort[scheme]
    expect(partsOf(read(`${scheme}://${host}${vhost}${query}`))).toEqual({ ...parts, port })
  })

  it.prop("equals an endpoint with the same parts and no other", [endpoint, endpoint], ([one, other]) => {
    const parts = partsOf(one)
    const make = (changed: Partial<typeof parts>) => {
      const { token, ...rest } = { ...parts, ...changed }
      return new Endpoint.Endpoint({ ...rest, token: Redacted.make(token) })
    }
    expect(Equal.equals(make({}), one)).toBe(true)
    expect(Hash.hash(make({}))).toBe(Hash.hash(one))
    const { host, port, scheme, token, vhost } = partsOf(other)
    for (const changed of [{ scheme }, { host }, { port }, { vhost }, { token }]) {
      const isSame = Object.entries(changed).every(([key, value]) => parts[key as keyof typeof parts] === value)
      expect(Equal.equals(make(changed), one)).toBe(isSame)
    }
  })

  it("has a certificate's fingerprint as openssl prints it, or a key as ZeroMQ writes it", () => {
    const digits = "0123456789abcdef".repeat(4)
    const printed = digits.toUpperCase().replace(/..(?=.)/g, "$&:")
    expect(read(`wrs+tcp://${token}@host/v?fingerprint=${printed}`).fingerprint).toBe(digits)
    const key = "bb88471d65e2659b30c55a5321cebb5aab2b70a398645c26dca2b2fcb43fc518"
    const z85 = encodeURIComponent("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID")
    expect(read(`wrs://${token}@host/v?serverKey=${z85}`).serverKey).toBe(key)
  })

  it("has vhosts of at most 128 characters", () => {
    const longest = `/${"v".repeat(127)}`
    expect(read(`wr://${token}@host${longest}`).vhost).toBe(longest)
    expect(Result.isFailure(Endpoint.fromUrl(`wr://${token}@host${longest}v`))).toBe(true)
  })

  it.each([
    ["", "it is not a URL"],
    ["moon", "it is not a URL"],
    [`wr://${token}@host:port/v`, "it is not a URL"],
    [`wr://${token}@host:65536/v`, "it is not a URL"],
    [`wr://${token}@[::1/v`, "it is not a URL"],
    [`ws://${token}@host/v`, "the scheme is not one of wr, wrs, wr+tcp, wrs+tcp"],
    [`http://${token}@host/v`, "the scheme is not one of"],
    [`constructor://${token}@host/v`, "the scheme is not one of"],
    [`wr:///v?token=${token}`, "it names no usable host"],
    [`wr:${token}`, "it names no usable host"],
    [`wr://${token}@h%20st/v`, "it names no usable host"],
    [`wr://${token}@ho*st/v`, "it names no usable host"],
    [`wr://${token}@hóst/v`, "it names no usable host"],
    [`wr://${token}@host:0/v`, "port 0"],
    [`wr://user:${token}@host/v`, "it has a password"],
    [`wr://:${token}@host/v`, "it has a password"],
    [`wr://${token}@host/v#there`, "it has a fragment"],
    [`wr://host/v`, "it has no access token"],
    [`wr://@host/v`, "it has no access token"],
    [`wr://host/v?Token=${token}`, "it has no access token"],
    [`wr://host/v?token=`, "an access token has 40"],
    [`wr://${token.slice(1)}@host/v`, "an access token has 40"],
    [`wr://${token}0@host/v`, "an access token has 40"],
    [`wr://${token.slice(1)}-@host/v`, "an access token has 40"],
    [`wr://${token}@${token}@host/v`, "an access token has 40"],
    [`wr://host/v?token=${token}%0A`, "an access token has 40"],
    [`wr://${token}@host`, `"" is not a vhost's path`],
    [`wr://${token}@host/`, `"/" is not a vhost's path`],
    [`wr://${token}@host/v/`, `"/v/" is not a vhost's path`],
    [`wr://${token}@host//v`, `"//v" is not a vhost's path`],
    [`wr://${token}@host/a.b`, `"/a.b" is not a vhost's path`],
    [`wr://${token}@host/%61`, `"/%61" is not a vhost's path`],
    [`wr://${token}@host/v?serverKey=${"ab".repeat(32)}`, "a serverKey is for wrs:// alone"],
    [`wrs://${token}@host/v?fingerprint=${"ab".repeat(32)}`, "a fingerprint is for wrs+tcp:// alone"],
    [`wrs://${token}@host/v?serverKey=${"ab".repeat(31)}`, "its serverKey is not a public key"],
    [`wrs+tcp://${token}@host/v?fingerprint=${"ab".repeat(31)}:`, "its fingerprint is not a SHA-256"],
    [`wr://${token}@host/ż`, `"/%C5%BC" is not a vhost's path`]
  ])("is not read from %j, and the error says why", (url, detail) => {
    const failure = Result.getOrThrow(Result.flip(Endpoint.fromUrl(url)))
    expect(failure).toBeInstanceOf(InvalidEndpointError)
    expect(failure.detail).toContain(detail)
    expect(failure.message).toContain(detail)
    expect(failure.message).toContain(
      url.startsWith("wrs://")
        ? "Expected wrs://<access token>@<host>:<port>/<vhost>?serverKey=<public key>"
        : "Expected wr://<access token>@<host>:<port>/<vhost>"
    )
    expect(tells(shown(failure), token)).toBe(false)
  })

  it("names the URL in its error, with the token masked and cut short", () => {
    const short = Result.getOrThrow(Result.flip(Endpoint.fromUrl(`ws://${token}@example.com:80/v`)))
    expect(short.url).toBe("ws://***@example.com:80/v")
    expect(short.message).toContain(`"ws://***@example.com:80/v"`)
    const draft = Result.getOrThrow(Result.flip(Endpoint.fromUrl(`wr://h/v/?token=${token}&x=1`)))
    expect(draft.url).toBe("wr://h/v/?token=***&x=1")
    for (
      const long of [`wr://${"h".repeat(100_000)}`, `wr://${token}@host/${"!".repeat(100_000)}`, "x".repeat(100_000)]
    ) {
      const failure = Result.getOrThrow(Result.flip(Endpoint.fromUrl(long)))
      expect(failure.message.length).toBeLessThan(400)
      expect(failure.url.length).toBeLessThan(400)
    }
  })

  it.effect("fails with an error that catchTag finds", () =>
    Effect.fromResult(Endpoint.fromUrl("nonsense")).pipe(
      Effect.catchTag("InvalidEndpointError", (error) => Effect.succeed(error.url)),
      Effect.map((url) => expect(url).toBe("nonsense"))
    ))

  it.prop("is read from anything without throwing", [garbage], ([input]) => {
    Endpoint.fromUrl(input)
    Endpoint.isAccessToken(input)
    Endpoint.isVhostPath(input)
  }, costly(120))

  // --- The token -----------------------------------------------------------------------------------------------------

  it.prop("shows its address and never its token", [endpoint], ([endpoint]) => {
    const { address, scheme, vhost } = endpoint
    const secret = Redacted.value(endpoint.token)
    expect(String(endpoint)).toBe(`${scheme}://***@${address}${vhost}`)
    for (const value of [endpoint, Endpoint.toUrl(endpoint), Endpoint.fromUrl(Endpoint.toUrl(endpoint))]) {
      expect(shown(value)).not.toContain(secret)
    }
  })

  it("is not made with a token that is not redacted, and the error does not tell it", () => {
    const parts = { scheme: "wr", host: "host", port: 8081, vhost: "/v" } as const
    const failure = Result.getOrThrow(
      Result.flip(Result.try(() => new Endpoint.Endpoint({ ...parts, token: token as never })))
    )
    expect(failure).toBeInstanceOf(Error)
    expect(tells(shown(failure as Error), token)).toBe(false)
  })

  it.each([
    ["with one slash", `wr:/${token}@host/v`],
    ["without slashes", `wr:${token}@host/v`],
    ["without scheme", `${token}@host/v`],
    ["with backslashes", `wr:\\\\${token}@host\\v`],
    ["with spaces", `wr://${token} @host/v`],
    ["with a line break in the token", `wr://${token.slice(0, 20)}\n${token.slice(20)}@host/v/`],
    ["with a token that lacks a character", `wr://${token.slice(1)}@host/v`],
    ["with a token in the query that lacks a character", `wr://host/v?token=${token.slice(1)}`],
    ["with a query in capitals", `wr://host/v?TOKEN=${token.slice(1)}`],
    ["with a token that has a stray character", `wr://${token.slice(0, 20)}-${token.slice(20)}@host/v`],
    ["with a token as the host", `wr://${token}`],
    ["with a token as the path", `wr://host/${token}`],
    ["with a token as the fragment", `wr://host/v#${token}`],
    ["with a token as a number", `wr://host:${token}/v`],
    ["with another name in the query", `wr://host/v?key=${token}`],
    ["with the draft's token and an @", `wr://host/@v?token=${token}`],
    ["with two tokens", `wr://${token}:${token}@host/v?token=${token}`],
    ["with much before the token", `wr://${"-".repeat(290)}${token}@host/v`],
    ["with much before the password", `wr://${"a-".repeat(137)}:${token}@host/v`],
    ["with much after the token", `wr://${token}@${"host.".repeat(100)}/v/`],
    ["with nothing but a broken token", `wr:${token.slice(1)}@host/v`],
    ["with a token at the end of its path", `wr://${token}@host/a.b/${token}`],
    ["that was pasted twice", `wr://${token}@wr://${token}@host/v`]
  ])("does not tell the token of a URL %s", (_, url) => {
    for (const input of [url, Redacted.make(url)]) {
      const failure = Result.getOrThrow(Result.flip(Endpoint.fromUrl(input)))
      expect(shown(failure)).not.toContain(token)
      expect(tells(shown(failure), token)).toBe(false)
    }
  })

  const pieces = "wr:|wr://|http://|//|/|\\|:|@|host|:80|/v|?|token=|&|#|%| ".split("|")
  const scrambled = piecesOf([...pieces, token, token], 10)
  const start = oneOf(pick(["wr://", "wr+tcp://", "ws://", "wr:/", "//", ""]), scrambled)
  const rest = oneOf(scrambled, Arbitrary.map(scrambled, (text) => `host/${text}`))

  it.prop("does not tell a token from a scrambled URL", [start, rest], ([start, rest]) => {
    const result = Endpoint.fromUrl(`${start}${token}@${rest}`)
    if (Result.isFailure(result)) expect(tells(shown(result.failure), token)).toBe(false)
    else if (!tells(result.success.host + result.success.vhost, token)) {
      expect(tells(shown(result.success), token)).toBe(false)
    }
  }, costly(200))
})
