/**
 * What the commands `kosmonaut admin …` and `kosmonaut nodes` have in common: which broker they are for, and how they print.
 *
 * @since 0.1.0
 */

import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as CommandLine from "./CommandLine.ts"
import * as Table from "./Table.ts"

/**
 * The flags that say which broker it is, and how to print.
 *
 * @since 0.1.0
 */
export const flags = {
  address: Flag.String("address").pipe(
    Flag.withMetavar("<url>"),
    Flag.withFallbackConfig(Config.String("KOSMONAUT_ADMIN_ADDRESS")),
    Flag.withDefault("http://127.0.0.1:8082"),
    Flag.withDescription("The broker's admin port; default $KOSMONAUT_ADMIN_ADDRESS, or http://127.0.0.1:8082")
  ),
  cookie: Flag.Redacted("cookie").pipe(
    Flag.withMetavar("<cookie>"),
    Flag.withFallbackConfig(Config.Redacted("KOSMONAUT_ADMIN_COOKIE")),
    Flag.optional,
    Flag.withDescription("Its cookie; default $KOSMONAUT_ADMIN_COOKIE, which ps does not show")
  ),
  storageDir: Flag.String("storage-dir").pipe(
    Flag.withMetavar("<folder>"),
    Flag.withFallbackConfig(Config.String("KOSMONAUT_STORAGE_DIR")),
    Flag.optional,
    Flag.withDescription(
      "Its storage folder, where its cookie is if you do not give it; default $KOSMONAUT_STORAGE_DIR"
    )
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Print a line of JSON for each item, for programs; default a table")
  )
}

/**
 * What the flags say.
 *
 * @since 0.1.0
 */
export interface Target {
  readonly address: string
  readonly cookie: Option.Option<Redacted.Redacted>
  readonly storageDir: Option.Option<string>
  readonly json: boolean
}

/**
 * The path of a vhost.
 *
 * @since 0.1.0
 */
export const vhost = Argument.String("vhost").pipe(Argument.withDescription("The path of the vhost, as /chat"))

/**
 * The client of the broker that the flags name.
 *
 * @since 0.1.0
 */
export const connect = ({ address, cookie, storageDir }: Target) =>
  Effect.flatMap(Effect.promise(() => import("./AdminClient.ts")), ({ make }) =>
    make({
      address,
      cookie: Option.getOrUndefined(cookie),
      storageDir: Option.getOrUndefined(storageDir)
    }))

/**
 * Prints a list, of which `read` reads one part after the other. A row of the table has what `row` makes of an item, below the
 * headings.
 *
 * @since 0.1.0
 */
export const printList = <A, E, R>(
  { json }: Pick<Target, "json">,
  read: (page: { readonly limit: number; readonly after?: number }) => Effect.Effect<Part<A>, E, R>,
  headings: ReadonlyArray<string>,
  row: (item: NoInfer<A>) => ReadonlyArray<string | number>
) => {
  const table = Table.make(headings)
  return Stream.paginate(undefined as number | undefined, (after) =>
    Effect.map(
      read({ limit, ...after !== undefined && { after } }),
      ({ items, next }) => [[items], Option.fromUndefinedOr(next)] as const
    )).pipe(
      Stream.runForEach((items) =>
        CommandLine.write(json ? items.map((item) => `${JSON.stringify(item)}\n`).join("") : table(items.map(row)))
      ),
      // Nobody reads standard output any more.
      Effect.catchTag("PlatformError", () => Effect.void)
    )
}

/** How many items are read at a time. */
const limit = 1000

interface Part<A> {
  readonly items: ReadonlyArray<A>
  readonly next?: number
}
