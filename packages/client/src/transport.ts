/** The network as the client sees it: ordered frames over a connection that may end any time. */

export interface TransportHandlers {
  /** At most once, never before `connect` returned. */
  onOpen(): void;
  /** One whole binary frame; the receiver owns the bytes. */
  onFrame(bytes: Uint8Array): void;
  /** Exactly once unless `close` was called first; nothing is called after it. */
  onClose(cause: Error): void;
}

export interface TransportConnection {
  /** Hands one frame over. Frames sent in one turn may travel together. Loss shows as `onClose`. */
  send(bytes: Uint8Array): void;
  /** Ends the connection at once; no handler is called afterwards. */
  close(): void;
}

export interface Transport {
  /** Starts to connect to `host:port`; never throws, a failure is `onClose`. */
  connect(address: string, handlers: TransportHandlers): TransportConnection;
}
