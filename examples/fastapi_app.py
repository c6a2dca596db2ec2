"""A FastAPI application over Redis: users are cached for all its processes, under keys that can be read.

    REDIS_URL=redis://localhost:6379/0 uvicorn examples.fastapi_app:app --workers 4

`redis-cli GETRANGE shop:v1:user:7 54 -1` shows what is stored for user 7, after a head of 40 bytes and the
key. Without a Redis, or while it is down, each request loads its user itself.

It needs: pip install 'areole[redis,pydantic]' fastapi uvicorn
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from areole import SharedCache, cached


class User(BaseModel):
    user_id: int
    name: str


DATABASE = {7: User(user_id=7, name="Ada"), 8: User(user_id=8, name="Grace")}
LOADS: list[int] = []
"""Which users were loaded from the database, for those who want to count."""

shared = SharedCache[object](
    os.environ.get("REDIS_URL", "redis://localhost:6379/0"), namespace="shop", ttl=300, on_error="miss"
)


@cached(shared, key="user:{user_id}", ttl=60)
async def load_user(user_id: int) -> User:
    """Load a user. The annotation picks the serializer, so that a hit is a User again."""
    LOADS.append(user_id)
    await asyncio.sleep(0.05)  # a database that is far away
    if user_id not in DATABASE:
        raise HTTPException(404, f"there is no user {user_id}")  # is not cached
    return DATABASE[user_id].model_copy()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close this event loop's connections at the end."""
    async with shared.aio:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/users/{user_id}")
async def get_user(user_id: int) -> User:
    return await load_user(user_id)


@app.put("/users/{user_id}/name")
async def rename(user_id: int, name: str) -> None:
    """Change the database first, and invalidate then: no process serves the old name after this."""
    DATABASE[user_id].name = name
    await load_user.invalidate(user_id)
