"""A Flask application whose pages are cached, and leave the cache by tag when an article changes.

    flask --app examples.flask_app run

It needs: pip install areole flask

The pages are in this process. For several processes give `memoize` a SharedCache: `shared=SharedCache("redis://...")`.
"""

from __future__ import annotations

from flask import Flask, abort, request

from areole import AtomicCache, Filled, Resilience

ARTICLES = {1: ("Cacti", "Ada"), 2: ("Succulents", "Grace")}
RENDERED: list[str] = []
"""Which pages were rendered, for those who want to count."""

app = Flask(__name__)


@AtomicCache.memoize(ttl=300, max_items=1000, tags=["article:{number}"])
def article_page(number: int) -> str:
    RENDERED.append(f"article {number}")
    title, author = ARTICLES[number]  # a KeyError is not cached
    return f"<h1>{title}</h1><p>by {author}</p>"


@AtomicCache.memoize(ttl=300, resilience=Resilience(stale_ttl=60), tags=())
def front_page() -> Filled[str]:
    """List all articles. Only this knows which ones are on it, so it brings the tags itself."""
    RENDERED.append("front")
    articles = dict(ARTICLES)
    titles = "".join(f"<li>{title}</li>" for title, _ in articles.values())
    return Filled(f"<ul>{titles}</ul>", tags=[f"article:{number}" for number in articles])


@app.get("/")
def show_front() -> str:
    return front_page()


@app.get("/articles/<int:number>")
def show_article(number: int) -> str:
    try:
        return article_page(number)
    except KeyError:
        abort(404)


@app.put("/articles/<int:number>")
def change_article(number: int) -> tuple[str, int]:
    """Change the database first, and invalidate then: no request that comes later gets the old pages."""
    ARTICLES[number] = (request.form["title"], request.form["author"])
    article_page.invalidate_tags(f"article:{number}")
    front_page.invalidate_tags(f"article:{number}")
    return "", 204


@app.get("/stats")
def stats() -> dict[str, int]:
    return {"articles": article_page.cache_info().currsize, "misses": article_page.cache_info().misses}
