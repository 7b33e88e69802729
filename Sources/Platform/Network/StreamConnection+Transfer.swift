internal import CSynod
internal import Glibc

// Receiving and sending.
extension StreamConnection {
  /// Whether bytes are wanted: the peer has not finished, nobody paused, and it reads what we send.
  var mayRead: Bool {
    phase == .open && !isPaused && !hasInputEnded && bufferedBytes <= options.pauseReadingAboveBytes
  }

  /// One `recv`, and what it brought to the handler.
  func read(_ thread: LoopThread) {
    let memory = unsafe thread.scratch
    let count = unsafe synod_socket_receive(descriptor, memory.baseAddress!, memory.count)
    if count > 0 {
      // A short read has emptied the socket; after a hangup only the read that returns nothing says so.
      if Int(count) < memory.count && !sawHangup { canRead = false }
      unsafe deliver(UnsafeRawBufferPointer(rebasing: memory[..<Int(count)]), thread)
    } else if count == 0 {
      canRead = false
      endInput()
    } else if count == -Int64(EAGAIN) {
      canRead = false
      sawHangup = false
      if let brokenOutput { end(.failed(brokenOutput)) }
    } else {
      canRead = false
      end(.failed(NetworkError(errno: Int32(-count), operation: "read from", address: "\(peerAddress)")))
    }
  }

  func deliver(_ bytes: UnsafeRawBufferPointer, _ thread: LoopThread) {
    guard let session else {
      unsafe handler?.received(bytes.bytes, self)
      return
    }
    unsafe deliverEncrypted(bytes, session, thread)
  }

  func endInput() {
    guard phase == .open, !hasInputEnded else { return }
    hasInputEnded = true
    if let brokenOutput { return end(.failed(brokenOutput)) }
    if let session, !session.isEstablished {
      return end(.tls(TLSError(.closedEarly, "the peer closed the connection during the handshake")))
    }
    handler?.inputEnded(self)
  }

  /// Sends bytes after everything sent before. Copies only what the kernel does not take now; ignored once closed.
  package func send(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0, phase == .open || phase == .connecting, brokenOutput == nil else { return }
    if let session {
      if let failure = unsafe session.encrypt(bytes) { return end(.tls(failure)) }
      return flush()
    }
    guard pending.isEmpty, phase == .open else {
      wasFull = true
      return unsafe pending.append(bytes)
    }
    let count = unsafe synod_socket_send(descriptor, bytes.baseAddress!, bytes.count)
    guard let sent = accept(count), sent < bytes.count else { return }
    unsafe pending.append(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
    wasFull = true
  }

  /// Sends bytes after everything sent before.
  package func send(_ bytes: RawSpan) { unsafe bytes.withUnsafeBytes { unsafe send($0) } }

  /// Sends bytes after everything sent before.
  package func send(_ bytes: [UInt8]) { unsafe bytes.withUnsafeBytes { unsafe send($0) } }

  /// Sends two pieces, one after the other, by one system call.
  package func send(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer) {
    guard head.count > 0, body.count > 0, session == nil, pending.isEmpty, phase == .open, brokenOutput == nil else {
      unsafe send(head)
      return unsafe send(body)
    }
    let count = unsafe synod_socket_send_two(
      descriptor, head.baseAddress!, head.count, body.baseAddress!, body.count)
    guard let sent = accept(count), sent < head.count + body.count else { return }
    if sent < head.count { unsafe pending.append(UnsafeRawBufferPointer(rebasing: head[sent...])) }
    unsafe pending.append(UnsafeRawBufferPointer(rebasing: body[max(0, sent - head.count)...]))
    wasFull = true
  }

  /// What the kernel took; nil where the connection broke.
  private func accept(_ count: Int64) -> Int? {
    if count >= 0 { return Int(count) }
    if count == -Int64(EAGAIN) || count == -Int64(ENOBUFS) { return 0 }
    breakOutput(NetworkError(errno: Int32(-count), operation: "write to", address: "\(peerAddress)"))
    return nil
  }

  /// Nothing more can be sent. The peer may have said why before it closed, so what it sent is read first, if it is wanted.
  private func breakOutput(_ error: NetworkError) {
    pending.removeAll()
    session?.dropOutput()
    guard phase == .open, !isPaused, !hasInputEnded else { return end(.failed(error)) }
    brokenOutput = error
    canRead = true
  }

  /// Hands what is kept to the kernel, as far as it takes it.
  func flush() {
    guard phase == .open || phase == .closing else { return }
    while !pending.isEmpty {
      let bytes = unsafe pending.bytes
      guard let sent = accept(unsafe synod_socket_send(descriptor, bytes.baseAddress!, bytes.count)) else { return }
      pending.consume(sent)
      if sent < bytes.count { return wasFull = true }
    }
    if let session {
      while session.outputCount > 0 {
        let bytes = unsafe session.output
        guard let sent = accept(unsafe synod_socket_send(descriptor, bytes.baseAddress!, bytes.count)) else { return }
        session.consumeOutput(sent)
        if sent < bytes.count { return wasFull = true }
      }
    }
    guard wasFull else { return }
    wasFull = false
    if watchesForRoom {
      watchesForRoom = false
      _ = synod_poll_change(
        loop.poller, descriptor, synod_poll_in | synod_poll_read_hangup | synod_poll_edge, token)
    }
    if phase == .open && !isWaitingForRoom { handler?.drained(self) }
  }

  /// Blocks until at most `limit` bytes are kept, handing the loop over: for a handler that produces more than memory
  /// should hold. The handler's `drained` is not called meanwhile.
  /// - Returns: false where the connection broke or was aborted, or the time was up.
  package func waitUntilSent(toAtMost limit: Int = 0, timeoutNanoseconds: UInt64 = .max) -> Bool {
    guard bufferedBytes > limit else { return phase == .open && brokenOutput == nil }
    let deadline = synod_boot_nanoseconds().addingReportingOverflow(timeoutNanoseconds)
    return EventLoop.blocking {
      isWaitingForRoom = true
      defer { isWaitingForRoom = false }
      while phase == .open {
        flush()
        if brokenOutput != nil { return false }
        if phase == .open && bufferedBytes <= limit { return true }
        let now = synod_boot_nanoseconds()
        if !deadline.overflow && now >= deadline.partialValue { return false }
        _ = synod_wait_for(
          descriptor, Int32(POLLOUT), deadline.overflow ? -1 : Int64(clamping: deadline.partialValue - now))
      }
      return false
    }
  }
}
