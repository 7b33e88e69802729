internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Platform

/// What an HTTP request is answered.
package struct HTTPAnswer: Sendable {
  package var status: Int
  package var body: String
  package var contentType: String
  package init(_ status: Int, _ body: String, contentType: String = "text/plain; charset=utf-8") {
    self.status = status
    self.body = body
    self.contentType = contentType
  }
}

/// Health and metrics over HTTP: GET and HEAD, small requests, one thread.
///
/// Head and body of a request are bounded (NIO's decoder ends a head beyond 80 KiB; a body is refused), silence ends a
/// connection after 30 s, and no more than 256 are open.
package final class HTTPServer: Sendable {
  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel

  /// Where it listens.
  package let port: Int
  package let host: String

  /// `answer` gets path and query (`/readyz`, `verbose`). It must not block for long.
  package init(
    host: String, port: Int, answer: @escaping @Sendable (_ path: String, _ query: String) -> HTTPAnswer
  ) throws {
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let counter = HTTPConnectionCounter()
    do {
      channel = try ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 64)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(IdleStateHandler(allTimeout: .seconds(30)))
            try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: true)
            try channel.pipeline.syncOperations.addHandler(HTTPRequestHandler(answer, counter))
          }
        }
        .bind(host: host, port: port).wait()
    } catch {
      try? group.syncShutdownGracefully()
      // An IOError's text is that of its errno between names of Swift functions.
      let reason = (error as? IOError).map { unsafe String(cString: strerror($0.errnoCode)) } ?? "\(error)"
      throw ServerError("cannot serve HTTP on \(host):\(port): \(reason)")
    }
    self.host = host
    self.port = channel.localAddress?.port ?? port
  }

  package func stop() {
    try? channel.close().wait()
    try? group.syncShutdownGracefully()
  }
}

/// How many are open; touched by the one loop only.
private final class HTTPConnectionCounter: @unchecked Sendable {
  // `@unchecked`: one loop, one thread.
  var open = 0
}

private final class HTTPRequestHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let answer: @Sendable (String, String) -> HTTPAnswer
  private let counter: HTTPConnectionCounter
  private var head: HTTPRequestHead?
  private var hasBody = false

  init(_ answer: @escaping @Sendable (String, String) -> HTTPAnswer, _ counter: HTTPConnectionCounter) {
    self.answer = answer
    self.counter = counter
  }

  func channelActive(context: ChannelHandlerContext) {
    counter.open += 1
    if counter.open > 256 { context.close(promise: nil) }
  }
  func channelInactive(context: ChannelHandlerContext) { counter.open -= 1 }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      hasBody = false
    case .body: hasBody = true
    case .end:
      guard let head else { return }
      self.head = nil
      respond(head, context)
    }
  }

  private func respond(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let result: HTTPAnswer
    if request.method != .GET && request.method != .HEAD {
      result = HTTPAnswer(405, "only GET and HEAD are served here\n")
    } else if hasBody {
      result = HTTPAnswer(413, "a request with a body is not served here\n")
    } else {
      let parts = request.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
      result = answer(String(parts.first ?? "/"), parts.count > 1 ? String(parts[1]) : "")
    }
    let isKept = request.isKeepAlive && !hasBody
    var headers = HTTPHeaders()
    headers.add(name: "content-type", value: result.contentType)
    headers.add(name: "content-length", value: "\(result.body.utf8.count)")
    headers.add(name: "cache-control", value: "no-store")
    if !isKept { headers.add(name: "connection", value: "close") }
    let status = HTTPResponseStatus(statusCode: result.status)
    context.write(
      wrapOutboundOut(.head(HTTPResponseHead(version: request.version, status: status, headers: headers))),
      promise: nil)
    if request.method != .HEAD {
      context.write(
        wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(string: result.body)))), promise: nil)
    }
    let channel = NIOLoopBound(context, eventLoop: context.eventLoop)
    let sent = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    if !isKept { sent.whenComplete { _ in channel.value.close(promise: nil) } }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
  }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
