/**
 * A browser that is connected to another node, as this one knows it: by its name. What it is sent here is dropped, since its own
 * node sends it the same.
 *
 * A class, so that a million of them have no functions of their own.
 */

import type { Browser } from "../../domain/Browser.ts"

/** A browser of another node. */
export class RemoteBrowser implements Browser {
  readonly sid: string
  readonly version: Browser["version"]
  /** The incarnation of its node. */
  readonly node: string
  constructor(sid: string, version: Browser["version"], node: string) {
    this.sid = sid
    this.version = version
    this.node = node
  }
  get isRemote(): true {
    return true
  }
  sendUnsafe(): void {}
  closeUnsafe(): void {}
}
