/**
 * The keys of an identity provider: fetched when they are needed, and not more often, whatever strangers send.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Http from "node:http"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as TokenVerifier from "../../../src/server/endpoint/TokenVerifier.ts"
import { enter, makeVhost } from "../../harness/browserSession.ts"
import { eventually } from "../../harness/eventually.ts"
import { listening } from "../../harness/listening.ts"
import { logged } from "../../harness/logged.ts"
import { ec, hmac, jwkOf, pemOf, raw, rsa, sign } from "../../harness/signedTokens.ts"

/** An identity provider, which answers as it is told, and the paths that were requested. */
const makeProvider = Effect.gen(function*() {
  const requested: Array<string> = []
  let answer: (response: Http.ServerResponse) => void = (response) => response.end(`{"keys":[]}`)
  const server = Http.createServer((request, response) => {
    requested.push(request.url!)
    answer(response)
  })
  const url = yield* listening(server)
  return {
    url: `${url}/keys`,
    requested,
    answers: (next: typeof answer) => {
      answer = next
    },
    hasKeys: (...keys: ReadonlyArray<unknown>) => {
      answer = (response) => void response.end(JSON.stringify({ keys }))
    }
  }
})

/** A vhost whose broker has the keys of this provider, and has fetched them once. */
const makeWorld = Effect.fnUntraced(function*({ requested, url }: Effect.Success<typeof makeProvider>) {
  const { layer, lines } = logged("Warn")
  const config = BrokerConfig.layer({ jwt: { jwksUrl: url, anyVhost: true } })
  const before = requested.length
  const verifier = yield* Layer.build(TokenVerifier.layer.pipe(Layer.provide(config), Layer.provideMerge(layer)))
  yield* eventually(Effect.sync(() => requested.length), (count) => count > before)
  const world = yield* Effect.provideContext(makeVhost(), verifier)
  const authenticate = (jwt: string) => Effect.map(enter(world, "a", 1).send("auth", { jwt }), ([message]) => message)
  return { authenticate, lines }
})

const soon = { sub: "joe", exp: 3600 }
const accepted = { ":authenticated": { uid: "joe" } }
const rejected = (code: number) => ({ ":error": { code } })
const byRsa = (kid?: string) => sign(soon, { alg: "RS256", key: rsa.privateKey, ...kid !== undefined && { kid } })
const byEc = (kid: string) => sign(soon, { alg: "ES256", key: ec.privateKey, kid })

describe("the keys of an identity provider", () => {
  it.effect("are fetched once for all, and again when a token names another one or they are old", () =>
    Effect.gen(function*() {
      const provider = yield* makeProvider
      provider.hasKeys(jwkOf(rsa, { kid: "one", use: "sig", alg: "RS256" }))
      const { authenticate } = yield* makeWorld(provider)
      const tokens = yield* Effect.all(Array.from({ length: 20 }, () => byRsa("one")))
      for (const message of yield* Effect.forEach(tokens, authenticate, { concurrency: "unbounded" })) {
        expect(message).toMatchObject(accepted)
      }
      expect(yield* authenticate(yield* byRsa())).toMatchObject(accepted)
      assert.strictEqual(provider.requested.length, 1)

      provider.hasKeys(jwkOf(rsa, { kid: "one" }), jwkOf(ec, { kid: "two" }))
      // Not yet: strangers name any key.
      expect(yield* authenticate(yield* byEc("two"))).toMatchObject(rejected(402))
      assert.strictEqual(provider.requested.length, 1)
      yield* TestClock.adjust("30 seconds")
      const [two, three] = [yield* byEc("two"), yield* byEc("three")]
      expect(yield* Effect.all([authenticate(two), authenticate(three)], { concurrency: 2 })).toMatchObject([
        accepted,
        rejected(402)
      ])
      for (let times = 0; times < 5; times++) expect(yield* authenticate(three)).toMatchObject(rejected(402))
      assert.strictEqual(provider.requested.length, 2)

      // A key that was withdrawn is no longer used after ten minutes.
      provider.hasKeys(jwkOf(ec, { kid: "two" }))
      yield* TestClock.adjust("599 seconds")
      expect(yield* authenticate(yield* byRsa("one"))).toMatchObject(accepted)
      yield* TestClock.adjust("1 second")
      expect(yield* authenticate(yield* byRsa("one"))).toMatchObject(rejected(402))
      assert.strictEqual(provider.requested.length, 3)
      assert.deepStrictEqual(new Set(provider.requested), new Set(["/keys"]))
    }))

  it.effect("are no secrets, and of a known kind", () =>
    Effect.gen(function*() {
      const provider = yield* makeProvider
      const oct = { kty: "oct", kid: "secret", k: Buffer.from("a".repeat(32)).toString("base64url"), alg: "HS256" }
      provider.hasKeys(
        null,
        7,
        oct,
        { kty: "RSA" },
        jwkOf(rsa, { kid: "encrypts", use: "enc" }),
        jwkOf(rsa, { kid: "other", alg: "PS256" }),
        jwkOf(rsa, { kid: "good" })
      )
      const { authenticate } = yield* makeWorld(provider)
      const signedBy = (key: string, kid: string) => raw({ alg: "HS256", kid }, soon, hmac(key))
      const wrong = [
        signedBy("a".repeat(32), "secret"),
        signedBy(pemOf(rsa), "good"),
        yield* byRsa("encrypts"),
        yield* byRsa("other"),
        yield* byEc("good")
      ]
      for (const jwt of wrong) expect(yield* authenticate(jwt)).toMatchObject(rejected(402))
      expect(yield* authenticate(yield* byRsa("good"))).toMatchObject(accepted)
    }))

  it.effect("are 597 until they were fetched once, and stay while they cannot be fetched", () =>
    Effect.gen(function*() {
      const provider = yield* makeProvider
      provider.answers((response) => void response.writeHead(500).end())
      const { authenticate, lines } = yield* makeWorld(provider)
      const jwt = yield* byRsa("one")
      expect(yield* authenticate(jwt)).toMatchObject(rejected(597))
      assert.strictEqual(provider.requested.length, 1)
      provider.hasKeys(jwkOf(rsa, { kid: "one" }))
      yield* TestClock.adjust("30 seconds")
      expect(yield* authenticate(jwt)).toMatchObject(accepted)
      provider.answers((response) => void response.destroy())
      yield* TestClock.adjust("10 minutes")
      expect(yield* authenticate(jwt)).toMatchObject(accepted)
      expect(yield* authenticate(jwt)).toMatchObject(accepted)
      assert.deepStrictEqual([provider.requested.length, lines.length], [3, 2])
      assert.match(lines[0]!, /^WARN The keys of signed tokens could not be fetched: .*Such tokens are rejected$/)
      assert.match(lines[1]!, /Those that were fetched before stay$/)
    }))

  it.effect.each<[string, (response: Http.ServerResponse) => void]>([
    ["elsewhere", (response) => response.writeHead(302, { location: "/elsewhere" }).end()],
    ["too large", (response) => response.end(JSON.stringify({ keys: [], more: "x".repeat(300_000) }))],
    ["no keys", (response) => response.end(`{"keys":[]}`)],
    ["no key set", (response) => response.end(`[]`)],
    ["no JSON", (response) => response.end(`<html>`)]
  ])("are not there if the response is %s", ([, answer]) =>
    Effect.gen(function*() {
      const provider = yield* makeProvider
      provider.answers(answer)
      const { authenticate, lines } = yield* makeWorld(provider)
      expect(yield* authenticate(yield* byRsa())).toMatchObject(rejected(597))
      assert.deepStrictEqual([provider.requested, lines.length], [["/keys"], 1])
    }))

  it.effect("have five seconds to come", () =>
    Effect.gen(function*() {
      const provider = yield* makeProvider
      provider.answers(() => {})
      const { authenticate } = yield* makeWorld(provider)
      const answer = yield* Effect.forkChild(authenticate(yield* byRsa()), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(answer)).toMatchObject(rejected(597))
    }))
})
