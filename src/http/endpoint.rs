//! A path with a handler for each of its methods. Any other method is answered with 405 and the `Allow` header.

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, ResponseError, Route,
    dev::{AppService, HttpServiceFactory},
    guard,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web,
};

use super::problem::{Code, Problem};

/// A path of the route table, with its handlers.
pub(super) struct Endpoint {
    resource: Resource,
    methods: Vec<Method>,
}

impl Endpoint {
    pub(super) fn new(path: &str) -> Self {
        Self {
            resource: web::resource(path),
            methods: Vec::new(),
        }
    }

    /// Handles `GET`, and `HEAD`, to which the server replies without the body.
    pub(super) fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        self.route(&[Method::GET, Method::HEAD], route.to(handler))
    }

    /// Handles one method.
    pub(super) fn on<F, Args>(self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::method(method.clone());
        self.route(&[method], route.to(handler))
    }

    fn route(mut self, methods: &[Method], route: Route) -> Self {
        self.methods.extend_from_slice(methods);
        self.resource = self.resource.route(route);
        self
    }
}

impl HttpServiceFactory for Endpoint {
    fn register(self, config: &mut AppService) {
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        let allow = methods.join(", ");
        let fallback = web::to(move |request: HttpRequest| {
            let reply = method_not_allowed(&request, &allow);
            async move { reply }
        });
        self.resource.default_service(fallback).register(config);
    }
}

fn method_not_allowed(request: &HttpRequest, allow: &str) -> HttpResponse {
    let path: String = request.path().chars().take(200).collect();
    let why = format!(
        "`{}` is not a method of `{path}`: use {allow}",
        request.method()
    );
    let mut reply = Problem::new(Code::MethodNotAllowed, why).error_response();
    let allow = HeaderValue::from_str(allow).expect("method names are ASCII");
    reply.headers_mut().insert(header::ALLOW, allow);
    reply
}
