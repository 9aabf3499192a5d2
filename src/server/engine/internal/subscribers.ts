/**
 * The subscriptions of a channel: those of browsers that are connected to this node, to which alone it delivers, and those of the
 * browsers of other nodes. So what a broadcast costs a node grows with its own browsers.
 */

import type { Browser, Subscription } from "../../domain/Browser.ts"
import type { Entry } from "./orderedList.ts"

/** The subscriptions of one channel, by their browsers. A class, so that a channel has no functions of its own. */
export class Subscribers {
  /** Those of the browsers that are connected to this node. */
  readonly own = new Map<Browser, Entry<Subscription>>()
  // Of most brokers there is one, and of most channels of several nothing.
  private remote: Map<Browser, Entry<Subscription>> | undefined

  /** How many there are on all nodes. */
  get size(): number {
    return this.own.size + (this.remote?.size ?? 0)
  }
  get(browser: Browser): Entry<Subscription> | undefined {
    return (browser.isRemote === true ? this.remote : this.own)?.get(browser)
  }
  has(browser: Browser): boolean {
    return this.get(browser) !== undefined
  }
  set(browser: Browser, entry: Entry<Subscription>): void {
    if (browser.isRemote === true) (this.remote ??= new Map()).set(browser, entry)
    else this.own.set(browser, entry)
  }
  delete(browser: Browser): void {
    if (browser.isRemote !== true) return void this.own.delete(browser)
    this.remote?.delete(browser)
    if (this.remote?.size === 0) this.remote = undefined
  }
  /** All browsers, in no order that other nodes would know. */
  browsers(): ReadonlyArray<Browser> {
    return [...this.own.keys(), ...this.remote?.keys() ?? []]
  }
  /** All subscriptions with their places in lists, in no order that other nodes would know. */
  *entries(): Generator<Entry<Subscription>, void> {
    yield* this.own.values()
    if (this.remote !== undefined) yield* this.remote.values()
  }
}
